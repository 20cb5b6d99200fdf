"""Kinds of images that few programs write and every crawl finds."""

import cv2
import numpy as np
import pytest
from PIL import Image

from hpcpipe.formats.image_errors import ImageError, ImageFailure
from tests.formats.images import difference, drawing, opened, photo, pixels, resize, saved

AS_IS = {"resize_mode": "no", "encode_format": "png"}


def ycck(image: Image.Image) -> bytes:
    """A JPEG of four components: brightness, two of colour, and black; Pillow writes none."""
    cmyk = np.asarray(image.convert("CMYK"))
    colours = np.asarray(Image.fromarray(cmyk[..., :3].copy()).convert("YCbCr"))
    parts = [*np.moveaxis(255 - colours, 2, 0), cmyk[..., 3]]
    as_cmyk = Image.merge("CMYK", [Image.fromarray(part.copy()) for part in parts])
    content = bytearray(saved(as_cmyk, "jpeg", quality=95))
    # the last byte of Adobe's segment says how the components are to be understood
    transform = content.index(b"Adobe") + 11
    assert content[transform] == 0
    content[transform] = 2
    return bytes(content)


def png_of_16_bits(*channels: np.ndarray) -> bytes:
    """A PNG with channels of 0 to 255 as samples of 16 bits, in OpenCV's order."""
    return bytes(cv2.imencode(".png", np.dstack(channels).astype(np.uint16) * 257)[1])


def test_ycck_jpegs_are_read():
    made = resize(ycck(drawing(120, 90)), **AS_IS)
    assert difference(pixels(made.content), drawing(120, 90)) < 3


def test_pngs_of_16_bits_are_read():
    red, green, blue = np.moveaxis(np.asarray(drawing(80, 60)), 2, 0)
    made = resize(png_of_16_bits(blue, green, red), **AS_IS)
    assert difference(pixels(made.content), drawing(80, 60)) < 1
    alpha = np.linspace(0, 255, 60)[:, np.newaxis].repeat(80, axis=1).astype(np.uint8)
    made = resize(png_of_16_bits(blue, green, red, alpha), **AS_IS)
    share = alpha[..., np.newaxis] / 255
    assert (
        difference(pixels(made.content), np.asarray(drawing(80, 60)) * share + 255 - 255 * share)
        < 1
    )


@pytest.mark.parametrize("kind", ["png", "gif", "webp"])
def test_a_clear_colour_of_a_palette_becomes_white(kind):
    image = Image.new("RGB", (60, 40), (200, 30, 30))
    image.paste((0, 0, 255), (0, 0, 30, 40))
    few = image.quantize(2)
    blue = few.getpixel((0, 0))
    save = {"transparency": blue} if kind != "webp" else {"lossless": True}
    if kind == "webp":
        few.info["transparency"] = blue
        few = few.convert("RGBA")
    seen = pixels(resize(saved(few, kind, **save), **AS_IS).content)
    assert (seen[:, :30] == 255).all()
    assert difference(seen[:, 30:], np.full((40, 30, 3), (200, 30, 30))) < 3


def test_progressive_jpegs_are_read_in_part_too():
    plain, progressive = (
        resize(saved(opened(photo("astronaut")), "jpeg", progressive=how), image_size=100)
        for how in (False, True)
    )
    assert progressive.content == plain.content


def test_arithmetic_coding_is_told_as_such():
    content = bytearray(photo("cat"))
    content[content.index(b"\xff\xc0") + 1] = 0xC9
    with pytest.raises(ImageError, match="arithmetic") as caught:
        resize(bytes(content))
    assert caught.value.failure is ImageFailure.UNSUPPORTED
