"""An image file to the pixels a detector looks at: upright, and no larger than it needs.

Boxes found in them are therefore relative to the image as it is shown, turned the way its EXIF
orientation says, which is how browsers and image viewers show it.
"""

from typing import Any

from hpcpipe.formats.image_decode import decode, open_libraries
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_header import read_header
from hpcpipe.formats.image_pillow import decoder_errors
from hpcpipe.formats.image_pixels import resize, upright
from hpcpipe.formats.image_sizes import Size

MAX_AREA_PX = 100_000_000
"""Larger images are never decoded."""


class ImageLoader:
    """Decodes and shrinks images; threads may share one."""

    def __init__(self, long_side_px: int) -> None:
        """Load the libraries.

        Args:
            long_side_px: what the longer side of larger images becomes; none is enlarged.

        Raises:
            SetupError: a library is missing.
        """
        open_libraries("faces", "looking at images")
        self._long_side_px = long_side_px

    def __call__(self, content: bytes) -> Any:
        """Decode an image.

        Args:
            content: a whole file.

        Returns:
            ``uint8 (H, W, 3)`` RGB, upright, with the longer side at most `long_side_px`.

        Raises:
            ImageError: it is no image, broken, of a kind that is not read, or too large.
            MemoryError: there is no room for it.
        """
        import numpy as np

        header = read_header(content)
        stored = header.stored
        if stored.width * stored.height > MAX_AREA_PX:
            raise ImageError(ImageFailure.AREA, "image area too large")
        if min(stored) < 1:
            raise ImageError(ImageFailure.TOO_SMALL, "image too small")
        scale = min(self._long_side_px / max(stored), 1)
        scaled = Size(*(max(round(side * scale), 1) for side in stored))
        with decoder_errors(header.kind):
            pixels = resize(decode(content, header, scaled).pixels, scaled, "area")
        return np.ascontiguousarray(upright(pixels, header.orientation))
