"""Small pictures of images, to be looked at: upright, in their proportions, as JPEG."""

import io
from typing import NamedTuple

from hpcpipe.errors import SetupError
from hpcpipe.formats.image_errors import ImageError
from hpcpipe.formats.image_header import ImageHeader, read_header
from hpcpipe.formats.image_pillow import decode_image, decoder_errors, open_image
from hpcpipe.formats.image_pixels import upright
from hpcpipe.formats.image_sizes import Size

QUALITY = 82
MAX_AREA_PX = 150_000_000


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        content: a JPEG file.
        size: in pixels.
        original: size of the image it is of, as that is shown.
    """

    content: bytes
    size: Size
    original: Size


def thumbnail(content: bytes, side_px: int) -> Thumbnail | str:
    """Make a small picture.

    Args:
        content: an image file of anybody's.
        side_px: its longer side, at most.

    Returns:
        The picture; or why there can be none, in words.

    Raises:
        MemoryError: there is no room for the image.
    """
    try:
        header = read_header(content)
        if header.stored.width * header.stored.height > MAX_AREA_PX:
            return f"{header.stored.width} x {header.stored.height} pixels are too many"
        return _made(content, header, side_px)
    except ImageError as error:
        return str(error)
    except ImportError as error:
        return str(SetupError(f"pictures need {error.name}: pip install pillow"))


def _made(content: bytes, header: ImageHeader, side_px: int) -> Thumbnail:
    import numpy as np
    from PIL import Image

    with decoder_errors(header.kind):
        if header.is_plain_jpeg:
            opened = open_image(content, header.kind)
            opened.draft("RGB", (2 * side_px, 2 * side_px))
            pixels = np.asarray(opened.convert("RGB"))
        else:
            pixels = decode_image(content, header.kind, header.stored).pixels
        small = Image.fromarray(np.ascontiguousarray(upright(pixels, header.orientation)))
        small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        written = io.BytesIO()
        small.save(written, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(written.getvalue(), Size(*small.size), header.shown)
