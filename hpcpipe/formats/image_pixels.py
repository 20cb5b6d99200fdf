"""Pixels to other pixels: resize, turn upright, cut out of the middle, put a border around.

Shrinking by area is quick in OpenCV where four pixels become one, and ten times slower a pixel
elsewhere. So an image is first brought to the nearest of 2, 4, 8 ... times the size wanted, then
halved. Of photos the results differ by 50 to 55 dB (mean; the worst by 43) from those of the slow
way, and by an SSIM of 0.996 or more.
"""

import math
from typing import Any

from hpcpipe.formats.image_options import Interpolation
from hpcpipe.formats.image_sizes import Size

WHITE = (255, 255, 255)

_MAX_MULTIPLE_AREA = 16_000_000
"""In pixels. What becomes hardly smaller would be four times its size meanwhile."""


def resize(pixels: Any, size: Size, interpolation: Interpolation) -> Any:
    """Resize an image.

    Args:
        pixels: ``uint8 (H, W, 3)``.
        size: to what.
        interpolation: how.

    Returns:
        The resized image; the same array where it has this size.

    Raises:
        cv2.error: OpenCV cannot.
    """
    import cv2

    if pixels.shape[:2] == (size.height, size.width):
        return pixels
    flags = {
        "nearest": cv2.INTER_NEAREST,
        "linear": cv2.INTER_LINEAR,
        "bilinear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "bicubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
        "lanczos": cv2.INTER_LANCZOS4,
        "lanczos4": cv2.INTER_LANCZOS4,
    }
    num_halvings = _num_halvings(pixels, size) if interpolation == "area" else 0
    for power in range(num_halvings, 0, -1):
        multiple = (size.width << power, size.height << power)
        # the first to the multiple nearest, the others are halvings
        by = cv2.INTER_LINEAR if power == num_halvings else cv2.INTER_AREA
        pixels = cv2.resize(pixels, multiple, interpolation=by)
    return cv2.resize(pixels, size, interpolation=flags[interpolation])


def _num_halvings(pixels: Any, size: Size) -> int:
    """How many halvings lead to a size, from nearby; 0 where the quick way is not open."""
    height, width = pixels.shape[:2]
    if width <= size.width or height <= size.height:
        return 0
    found = {
        max(round(math.log2(before / after)), 1)
        for before, after in ((width, size.width), (height, size.height))
    }
    num_halvings = found.pop()
    area = size.width * size.height << 2 * num_halvings
    return num_halvings if not found and area <= _MAX_MULTIPLE_AREA else 0


def upright(pixels: Any, orientation: int) -> Any:
    """Turn an image as it is to be shown.

    Args:
        pixels: ``(H, W, 3)`` as stored.
        orientation: 1 to 8 as in EXIF.

    Returns:
        A view of the pixels, turned and mirrored.

    Raises:
        Nothing.
    """
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.transpose(1, 0, 2) if orientation >= 5 else pixels


def fit_to(pixels: Any, size: Size) -> Any:
    """Cut an image out of the middle, or put a white border around it, or both.

    Args:
        pixels: ``uint8 (H, W, 3)``.
        size: to what.

    Returns:
        An image of that size; where something cannot be even, the lower and right border are the
        wider ones, and more is cut off there.

    Raises:
        cv2.error: OpenCV cannot.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    top, left = max(height - size.height, 0) // 2, max(width - size.width, 0) // 2
    pixels = pixels[top : top + size.height, left : left + size.width]
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    import cv2

    above, before = (size.height - height) // 2, (size.width - width) // 2
    below, behind = size.height - height - above, size.width - width - before
    border = (above, below, before, behind)
    return cv2.copyMakeBorder(pixels, *border, cv2.BORDER_CONSTANT, value=WHITE)
