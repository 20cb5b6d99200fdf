"""Build webdataset shards of real photos, and edits for some of their samples.

Every sample is a different crop of one of the photos beside this file, with the members and
metadata fields a DataComp shard has. The same arguments give the same bytes. From the shell::

    python tests/data/make_shards.py DIR --shards 4 --samples 60
"""

import argparse
import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

from PIL import Image, ImageOps

PHOTOS = Path(__file__).parent / "photos"
MTIME_S = 1_700_000_000
JPEG_QUALITY = 88

Sample = dict[str, bytes]
"""Members of one sample by extension: ``jpg``, ``txt``, ``json``."""


def make_shards(folder: Path, *, num_shards: int = 4, num_samples: int = 60) -> list[Path]:
    """Write ``00000.tar`` and so on.

    Args:
        folder: where to; made if it is not there.
        num_shards: how many tars.
        num_samples: samples in each.

    Returns:
        Their paths in order.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = _load_photos()
    paths = []
    for shard in range(num_shards):
        path = folder / f"{shard:05d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in range(num_samples):
                key = f"{shard:05d}{index:04d}"
                for extension, data in make_sample(key, photos).items():
                    _add(tar, f"{key}.{extension}", data)
        paths.append(path)
    return paths


def make_edits(shards: Path, edits: Path) -> int:
    """Write loose edits for three samples in ten of every shard, ``edits/00000/KEY.jpg``.

    One of the three gets a new image, one a new caption, one both and matching metadata.

    Args:
        shards: folder that `make_shards` filled.
        edits: where to; made if it is not there.

    Returns:
        Number of samples edited.

    Raises:
        OSError: a file cannot be read or written.
    """
    num_edited = 0
    for path in sorted(shards.glob("*.tar")):
        folder = edits / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        for index, (key, sample) in enumerate(read_shard(path).items()):
            edit = _edit(index % 10, sample)
            for extension, data in edit.items():
                (folder / f"{key}.{extension}").write_bytes(data)
            num_edited += bool(edit)
    return num_edited


def read_shard(path: Path) -> dict[str, Sample]:
    """Read a whole shard with `tarfile`, by key in the shard's order.

    Raises:
        OSError: it cannot be read.
    """
    samples: dict[str, Sample] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return samples


def make_sample(key: str, photos: list[tuple[Image.Image, dict]] | None = None) -> Sample:
    """Make one sample; its key alone decides which photo and which part of it.

    Raises:
        OSError: a photo cannot be read.
    """
    rng = random.Random(key)
    photos = photos or _load_photos()
    photo, facts = photos[rng.randrange(len(photos))]
    width_px, height_px = (round(side * rng.uniform(0.6, 1)) for side in photo.size)
    left_px = rng.randint(0, photo.width - width_px)
    top_px = rng.randint(0, photo.height - height_px)
    box = (left_px, top_px, left_px + width_px, top_px + height_px)
    image = photo.crop(box)
    image.thumbnail((384, 384), Image.Resampling.BILINEAR)
    data = _jpeg(image)
    meta = {
        "uid": hashlib.sha256(key.encode()).hexdigest()[:32],
        "key": key,
        "caption": facts["caption"],
        "status": "success",
        "width": image.width,
        "height": image.height,
        "original_width": photo.width,
        "original_height": photo.height,
        "face_bboxes": _moved_boxes(facts["face_bboxes"], photo.size, box),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return {"jpg": data, "txt": facts["caption"].encode(), "json": _json(meta)}


def _edit(kind: int, sample: Sample) -> Sample:
    edit: Sample = {}
    if kind in (0, 2):
        image = Image.open(io.BytesIO(sample["jpg"]))
        edit["jpg"] = _jpeg(ImageOps.mirror(ImageOps.posterize(image, 4)))
    if kind in (1, 2):
        edit["txt"] = b"Edited: " + sample["txt"]
    if kind == 2:
        meta = json.loads(sample["json"])
        meta |= {
            "caption": edit["txt"].decode(),
            "face_bboxes": [[1 - x2, y1, 1 - x1, y2] for x1, y1, x2, y2 in meta["face_bboxes"]],
            "sha256": hashlib.sha256(edit["jpg"]).hexdigest(),
        }
        edit["json"] = _json(meta)
    return edit


def _load_photos() -> list[tuple[Image.Image, dict]]:
    listing = json.loads((PHOTOS / "photos.json").read_text())
    photos = []
    for facts in listing:
        with Image.open(PHOTOS / facts["file"]) as image:
            photos.append((image.convert("RGB"), facts))
    return photos


def _moved_boxes(
    boxes: list[list[float]], size_px: tuple[int, int], crop_px: tuple[int, int, int, int]
) -> list[list[float]]:
    """Face boxes, in fractions of the photo, as fractions of a crop; cut ones are left out."""
    width_px, height_px = size_px
    left, top, right, bottom = crop_px
    moved = []
    for x1, y1, x2, y2 in boxes:
        box = [
            (x1 * width_px - left) / (right - left),
            (y1 * height_px - top) / (bottom - top),
            (x2 * width_px - left) / (right - left),
            (y2 * height_px - top) / (bottom - top),
        ]
        if min(box) >= 0 and max(box) <= 1:
            moved.append([round(side, 4) for side in box])
    return moved


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _json(meta: dict) -> bytes:
    return json.dumps(meta, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(data), MTIME_S
    tar.addfile(info, io.BytesIO(data))


def main() -> None:
    """Build shards and edits from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets shards/ and edits/")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--samples", type=int, default=60, help="samples in each shard")
    args = parser.parse_args()
    shards = args.folder / "shards"
    make_shards(shards, num_shards=args.shards, num_samples=args.samples)
    num_edited = make_edits(shards, args.folder / "edits")
    print(
        f"{args.folder}: {args.shards} shards of {args.samples} samples, "
        f"edits for {num_edited} of them"
    )


if __name__ == "__main__":
    main()
