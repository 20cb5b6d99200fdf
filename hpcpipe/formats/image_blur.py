"""Blur boxes of an image, faces for instance.

The strength is that of the ImageNet face obfuscation, which img2dataset names as its source
(https://github.com/princetonvisualai/imagenet-face-obfuscation): each box grows by a tenth of its
longer side all around, and all are blurred with a deviation of a tenth of the longest side of any
box, with soft edges. img2dataset 1.47 itself blurs less: with a third of that deviation.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpcpipe.formats.image_errors import ImageError, ImageFailure

_STRENGTH = 0.1
_MIN_SIGMA_PX = 0.5
_MAX_SIGMA_PX = 8
"""Larger deviations are blurred at a part of the size: nobody sees it, and it is far quicker."""

_FURTHEST = 1.0
"""How far outside the image a box may reach, in widths or heights: more must be another unit."""


class Box(NamedTuple):
    """A rectangle relative to the image's size: 0 left and top, 1 right and bottom."""

    left: float
    top: float
    right: float
    bottom: float


class _Pixels(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def grown(self, num_px: int, width: int, height: int) -> "_Pixels":
        """Move all sides outwards, as far as the image goes."""
        return _Pixels(
            min(max(self.left - num_px, 0), width),
            min(max(self.top - num_px, 0), height),
            max(min(self.right + num_px, width), 0),
            max(min(self.bottom + num_px, height), 0),
        )


def check_boxes(boxes: Sequence[Sequence[float]] | None) -> list[Box]:
    """Check the boxes of a list.

    Args:
        boxes: for each its left, top, right and bottom, relative to the image as it is shown; None
            for none.

    Returns:
        The boxes.

    Raises:
        ImageError: one is not four numbers, has its sides exchanged, or lies far outside. Such an
            image is left out, since what was to be hidden would be seen.
    """
    try:
        checked = [Box(*map(float, box)) for box in (boxes if boxes is not None else ())]
    except (TypeError, ValueError) as error:
        raise ImageError(ImageFailure.BOXES, "blurring boxes are not four numbers each") from error
    for box in checked:
        if not all(-_FURTHEST <= side <= 1 + _FURTHEST for side in box):
            raise ImageError(ImageFailure.BOXES, "blurring boxes are not relative to the image")
        if box.left > box.right or box.top > box.bottom:
            raise ImageError(ImageFailure.BOXES, "blurring boxes end before they begin")
    return checked


def blur(pixels: Any, boxes: Sequence[Box]) -> Any:
    """Blur parts of an image.

    Args:
        pixels: ``uint8 (H, W, 3)``.
        boxes: which parts.

    Returns:
        A blurred copy; the same array where there are no boxes.

    Raises:
        cv2.error: OpenCV cannot.
    """
    import numpy as np

    if not boxes:
        return pixels
    height, width = pixels.shape[:2]
    inner = [_to_pixels(box, width, height) for box in boxes]
    longest_px = [max(box.right - box.left, box.bottom - box.top) for box in inner]
    grown = [
        box.grown(math.ceil(_STRENGTH * px), width, height)
        for box, px in zip(inner, longest_px, strict=True)
    ]
    sigma_px = max(_STRENGTH * max(longest_px), _MIN_SIGMA_PX)
    # twice what the blur reaches: its edge needs true pixels around it
    around = _around(grown).grown(2 * math.ceil(3 * sigma_px), width, height)
    part = np.s_[around.top : around.bottom, around.left : around.right]
    mask = np.zeros((height, width), np.float32)[part]
    for box in grown:
        top, left = box.top - around.top, box.left - around.left
        mask[top : box.bottom - around.top, left : box.right - around.left] = 1
    blurred = pixels.copy()
    if mask.size:
        share = _gaussian(mask, sigma_px)[..., np.newaxis]
        sharp = pixels[part]
        mixed = sharp * (1 - share) + _gaussian(sharp, sigma_px) * share
        blurred[part] = np.rint(mixed).clip(0, 255)
    return blurred


def _to_pixels(box: Box, width: int, height: int) -> _Pixels:
    return _Pixels(
        math.floor(box.left * width),
        math.floor(box.top * height),
        math.ceil(box.right * width),
        math.ceil(box.bottom * height),
    )


def _around(boxes: Sequence[_Pixels]) -> _Pixels:
    left, top, right, bottom = zip(*boxes, strict=True)
    return _Pixels(min(left), min(top), max(right), max(bottom))


def _gaussian(values: Any, sigma_px: float) -> Any:
    import cv2

    height, width = values.shape[:2]
    part = max(int(sigma_px / _MAX_SIGMA_PX), 1)
    if part > 1:
        small = (max(width // part, 1), max(height // part, 1))
        values = cv2.resize(values, small, interpolation=cv2.INTER_AREA)
    sigma = sigma_px / part
    side = 2 * math.ceil(3 * sigma) + 1
    values = cv2.GaussianBlur(values, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
