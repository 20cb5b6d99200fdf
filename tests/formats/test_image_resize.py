"""Images of all formats in, of three formats out."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from hpcpipe.errors import ConfigError
from hpcpipe.formats.image_decode import decode
from hpcpipe.formats.image_errors import ImageError
from hpcpipe.formats.image_header import read_header
from hpcpipe.formats.image_pixels import resize as pixel_resize
from hpcpipe.formats.image_resize import ImageResizer
from hpcpipe.formats.image_sizes import Size
from tests.formats.images import (
    PHOTOS,
    difference,
    drawing,
    opened,
    options,
    photo,
    pixels,
    resize,
    saved,
)

KINDS = ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]

MIN_PSNR_DB = 32


@pytest.mark.parametrize("encode_format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_in_and_out(kind, encode_format):
    content = saved(drawing(300, 200), kind)
    made = resize(content, image_size=64, encode_format=encode_format)
    assert made.extension == encode_format
    image = opened(made.content)
    assert (image.format, image.mode) == (
        {"jpg": "JPEG"}.get(encode_format, encode_format.upper()),
        "RGB",
    )
    assert difference(pixels(made.content), drawing(96, 64)) < (12 if kind == "gif" else 3)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_photos_decoded_in_part_look_as_those_decoded_whole(path):
    content = path.read_bytes()
    image_size = min(opened(content).size) // 3
    fast = resize(content, image_size=image_size, encode_format="png")
    whole = resize(saved(opened(content), "png"), image_size=image_size, encode_format="png")
    error = np.mean((pixels(fast.content) - pixels(whole.content)) ** 2)
    assert error > 0
    assert 10 * np.log10(255**2 / error) > MIN_PSNR_DB


def shares(num_before: int, num_after: int) -> np.ndarray:
    """How much of each new pixel is of each old one, along one side."""
    new, old = np.ogrid[:num_after, :num_before]
    end = np.minimum((new + 1) / num_after, (old + 1) / num_before)
    return (end - np.maximum(new / num_after, old / num_before)).clip(0) * num_after


@pytest.mark.parametrize(
    "size",
    [Size(600, 400), Size(500, 340), Size(321, 215), Size(251, 167), Size(110, 74), Size(40, 290)],
)
@pytest.mark.parametrize("name", ["temple", "flower", "rocket"])
def test_shrinking_by_area_gives_the_means_of_areas(name, size):
    before = np.asarray(opened(photo(name)))
    made = pixel_resize(before, size, "area").astype(float)
    assert made.shape == (size.height, size.width, 3)
    rows, columns = shares(before.shape[0], size.height), shares(before.shape[1], size.width)
    expected = np.einsum("yY,xX,YXc->yxc", rows, columns, before.astype(float), optimize=True)
    assert 10 * np.log10(255**2 / np.mean((made - expected) ** 2)) > 36


def test_shrinking_huge_images_a_little_takes_no_room_for_twice_their_size():
    before = cv2.resize(np.asarray(opened(photo("temple"))), (2600, 1700))
    tracemalloc.start()
    made = pixel_resize(before, Size(2500, 1640), "area")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2 * made.nbytes
    assert difference(made, cv2.resize(before, (2500, 1640), interpolation=cv2.INTER_AREA)) == 0


@pytest.mark.parametrize(
    ("least", "part"), [(16, 8), (17, 4), (50, 4), (51, 2), (114, 2), (115, 1)]
)
def test_jpegs_are_decoded_clearly_larger_than_wanted(least, part):
    content = saved(drawing(500, 400), "jpeg")
    made = decode(content, read_header(content), Size(least, least)).pixels
    assert made.shape[:2] == (400 // part, -(-500 // part))


@pytest.mark.parametrize(
    "mode", ["keep_ratio", "keep_ratio_largest", "center_crop", "border", "no"]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_become_upright(orientation, mode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(drawing(240, 160), "jpeg", exif=exif, quality=95)
    shown = ImageOps.exif_transpose(opened(content))
    made = resize(content, resize_mode=mode, image_size=80)
    assert (made.original_width, made.original_height) == shown.size
    assert opened(made.content).size == (made.width, made.height)
    assert "exif" not in opened(made.content).info
    expected = resize(saved(shown, "png"), resize_mode=mode, image_size=80)
    assert difference(pixels(made.content), pixels(expected.content)) < 2


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "avif"])
def test_orientation_of_other_formats(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(drawing(240, 160), kind, exif=exif)
    made = resize(content, image_size=80)
    assert (made.original_width, made.original_height) == (160, 240)
    assert difference(pixels(made.content), drawing(120, 80).rotate(-90, expand=True)) < 3


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "avif"])
def test_transparency_becomes_white(kind):
    image = drawing(80, 80).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((80, 80)))
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB")
    made = resize(saved(image, kind), resize_mode="no", encode_format="png")
    assert difference(pixels(made.content), expected) < 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "I;16", "RGB"])
def test_pngs_of_every_mode_become_rgb(mode):
    gray = drawing(80, 60).convert("L")
    image = {
        "I;16": lambda: Image.fromarray(np.asarray(gray).astype(np.uint16) * 257),
        "PA": lambda: gray.convert("P"),
    }.get(mode, lambda: gray.convert(mode))()
    save = {"transparency": 0} if mode == "PA" else {}
    made = resize(saved(image, "png", **save), resize_mode="no", encode_format="png")
    assert opened(made.content).mode == "RGB"
    if mode == "PA":
        seen = np.where(np.asarray(gray) == 0, 255, np.asarray(gray))
        assert difference(pixels(made.content)[..., 0], seen) < 1
    elif mode != "1":
        assert difference(pixels(made.content), gray.convert("RGB")) < 1


def test_gray_and_cmyk_jpegs_become_rgb():
    image = drawing(120, 90)
    for mode in ("L", "CMYK"):
        made = resize(saved(image.convert(mode), "jpeg", quality=95), resize_mode="no")
        assert opened(made.content).mode == "RGB"
        assert difference(pixels(made.content), image.convert(mode).convert("RGB")) < 3


def test_of_animations_the_first_frame_is_taken():
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    for kind in ("gif", "webp", "png"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        made = resize(content, resize_mode="no")
        assert difference(pixels(made.content), frames[0]) < 3


def test_of_several_pages_the_first_is_taken():
    pages = [Image.new("RGB", (40, 30), "red"), Image.new("RGB", (90, 90), "lime")]
    content = saved(pages[0], "tiff", save_all=True, append_images=pages[1:])
    made = resize(content, resize_mode="no")
    assert (made.original_width, made.original_height) == (40, 30)
    assert difference(pixels(made.content), pages[0]) < 3


def test_colour_profiles_are_neither_applied_nor_written():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = saved(drawing(64, 64), "jpeg", quality=95)
    made = resize(saved(drawing(64, 64), "jpeg", quality=95, icc_profile=profile), image_size=32)
    assert "icc_profile" not in opened(made.content).info
    assert made.content == resize(plain, image_size=32).content


def test_border_is_white_and_even():
    content = saved(Image.new("RGB", (100, 50), "black"), "png")
    seen = pixels(resize(content, resize_mode="border", image_size=65, encode_format="png").content)
    rows = seen.mean(axis=(1, 2))
    assert rows.tolist() == [255] * 16 + [0] * 32 + [255] * 17


def test_the_middle_is_cut_out():
    image = Image.new("RGB", (200, 100), "black")
    image.paste("white", (50, 0, 150, 100))
    made = resize(saved(image, "png"), resize_mode="center_crop", image_size=50)
    assert pixels(made.content).mean() > 254


def test_interpolation_is_as_asked_for():
    content = saved(Image.effect_noise((64, 64), 90), "png")
    made = {
        (name, size): resize(
            content,
            image_size=size,
            encode_format="png",
            downscale_interpolation=name,
            upscale_interpolation=name,
        ).content
        for name in ("nearest", "bilinear", "bicubic", "area", "lanczos")
        for size in (24, 128)
    }
    assert len(set(made.values())) >= 9
    assert set(np.unique(pixels(made["nearest", 24]))) <= set(np.unique(pixels(content)))


def test_nothing_is_encoded_again_where_nothing_is_to_be_done():
    content = photo("temple")
    keep = {"skip_reencode": True, "resize_only_if_bigger": True}
    assert resize(content, image_size=1024, **keep).content == content
    assert resize(content, resize_mode="no", skip_reencode=True).content == content
    assert resize(content, image_size=427, skip_reencode=True).content == content
    assert resize(content, resize_mode="no").content != content
    assert resize(content, image_size=256, **keep).content != content
    assert resize(content, resize_mode="no", encode_format="webp", **keep).extension == "webp"
    boxes = [[0.2, 0.2, 0.4, 0.4]]
    assert resize(content, boxes, resize_mode="no", skip_reencode=True).content != content


def test_what_is_kept_is_whole_upright_and_opaque():
    keep = {"skip_reencode": True, "resize_mode": "no"}
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = resize(saved(drawing(60, 40), "jpeg", exif=exif), **keep)
    assert opened(turned.content).size == (40, 60)
    clear = saved(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "png")
    assert pixels(resize(clear, encode_format="png", **keep).content).min() == 255
    with pytest.raises(ImageError, match="truncated"):
        resize(photo("temple")[:-2_000], **keep)


def test_bytes_pass_where_nothing_is_to_be_encoded():
    exif = Image.Exif()
    exif[0x0112] = 8
    exif[0x0110] = "A camera"
    content = saved(drawing(60, 40), "webp", exif=exif)
    made = resize(content, disable_all_reencoding=True)
    assert made.content == content
    assert made[1:6] == ("webp", 40, 60, 40, 60)
    assert made.exif == {"Image Model": "A camera", "Image Orientation": "8"}
    with pytest.raises(ImageError, match="image too small"):
        resize(content, disable_all_reencoding=True, min_image_size=50)
    with pytest.raises(ImageError, match="not an image"):
        resize(b"<html><body>gone</body></html>", disable_all_reencoding=True)
    with pytest.raises(ConfigError, match="cannot be blurred"):
        resize(content, [[0, 0, 1, 1]], disable_all_reencoding=True)


def test_metadata_is_given_where_it_is_asked_for():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    content = saved(drawing(60, 40), "jpeg", exif=exif)
    assert resize(content).exif == {"Image Make": "Maker"}
    assert resize(content, extract_exif=False).exif is None
    assert resize(saved(drawing(60, 40), "jpeg")).exif == {}


def test_threads_share_one_resizer():
    resizer = ImageResizer(options(image_size=128))
    contents = [path.read_bytes() for path in PHOTOS]
    alone = [resizer(content).content for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(resizer, contents * 8))
    assert [made.content for made in together] == alone * 8
