"""Images of all kinds by Pillow: opened by their header, and decoded to RGB.

Formats are read by their own class: trying every one that Pillow knows would let contents choose
among readers nobody needs.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from hpcpipe.formats.image_errors import ImageError, ImageFailure

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

PILLOW_KINDS = frozenset({"jpg", "png", "webp", "gif", "bmp", "tiff", "avif"})


class DecodedImage(NamedTuple):
    """An image's pixels.

    Attributes:
        pixels: ``uint8 (H, W, 3)`` RGB, as stored.
        had_alpha: whether it had transparency, which now is white.
    """

    pixels: Any
    had_alpha: bool


@contextmanager
def decoder_errors(kind: str) -> Iterator[None]:
    """Tell what a decoder raises as an error of the image.

    Args:
        kind: the image's format.

    Yields:
        Nothing.

    Raises:
        ImageError: the image is broken or truncated.
        MemoryError: there is no room for it, which is not its fault.
    """
    from PIL.Image import DecompressionBombError

    try:
        yield
    except (ImageError, MemoryError):
        raise
    except DecompressionBombError as error:
        raise ImageError(ImageFailure.AREA, "image area too large") from error
    except Exception as error:
        # contents lead decoders to errors of any type
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise ImageError(ImageFailure.TRUNCATED, f"{kind} image is truncated") from error
        raise ImageError(ImageFailure.BROKEN, f"{kind} image is broken") from error


def open_image(content: bytes, kind: str) -> "ImageFile":
    """Read an image's header.

    Args:
        content: a whole file.
        kind: its format, one of `PILLOW_KINDS`.

    Returns:
        The image, of which nothing is decoded.

    Raises:
        ImageError: the header is broken.
    """
    from PIL.AvifImagePlugin import AvifImageFile
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.GifImagePlugin import GifImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    classes: dict[str, type[ImageFile]] = {
        "avif": AvifImageFile,
        "bmp": BmpImageFile,
        "gif": GifImageFile,
        "jpg": JpegImageFile,
        "png": PngImageFile,
        "tiff": TiffImageFile,
        "webp": WebPImageFile,
    }
    with decoder_errors(kind):
        return classes[kind](io.BytesIO(content))


def decode_image(content: bytes, kind: str, stored: tuple[int, int]) -> DecodedImage:
    """Decode an image; of an animation the first frame, of several pages the first.

    Args:
        content: a whole file.
        kind: its format, one of `PILLOW_KINDS`.
        stored: width and height that its header says.

    Returns:
        The pixels: colour profiles are not applied, palettes, gray, CMYK and 16 bits become RGB of
        8 bits, and what is transparent becomes white.

    Raises:
        ImageError: it is broken or truncated, or its samples have 32 bits.
        MemoryError: there is no room for it.
    """
    import numpy as np

    image = open_image(content, kind)
    if image.size != stored:
        raise ImageError(ImageFailure.BROKEN, f"{kind} image is broken")
    with decoder_errors(kind):
        image.load()
        if image.mode.startswith("I;16"):
            gray = (np.asarray(image) >> 8).astype(np.uint8)
            return DecodedImage(np.repeat(gray[:, :, np.newaxis], 3, axis=2), had_alpha=False)
        if image.mode in ("I", "F"):
            raise ImageError(ImageFailure.UNSUPPORTED, "image of 32-bit samples")
        if image.has_transparency_data:
            return DecodedImage(np.asarray(_on_white(image)), had_alpha=True)
        return DecodedImage(np.asarray(image.convert("RGB")), had_alpha=False)


def _on_white(image: "ImageFile") -> Any:
    from PIL import Image

    drawn = image.convert("RGBA")
    white = Image.new("RGB", drawn.size, "white")
    white.paste(drawn, mask=drawn.getchannel("A"))
    return white
