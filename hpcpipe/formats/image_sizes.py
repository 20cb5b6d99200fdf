"""How large an image becomes: the arithmetic of the resize modes, and the filters by size.

The rules and their rounding are img2dataset's, so that the same options give the same sizes.
"""

from typing import NamedTuple

from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_options import ImageOptions

_MAX_SIDE_PX = {"jpg": 65_500, "png": 1_000_000, "webp": 16_383}
"""Longest side that the encoders write."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def transposed(self) -> "Size":
        """Swap the sides. Raises nothing."""
        return Size(self.height, self.width)


class SizePlan(NamedTuple):
    """What becomes of one image.

    Attributes:
        scaled: what all of it is resized to.
        final: what then is cut out of its middle, or made by a border around it.
        is_downscale: whether it becomes smaller.
    """

    scaled: Size
    final: Size
    is_downscale: bool


def check_size(size: Size, options: ImageOptions) -> None:
    """Apply the filters.

    Args:
        size: of the image as it is shown.
        options: the limits.

    Raises:
        ImageError: too small, too large or too elongated.
    """
    shorter, longer = sorted(size)
    if shorter < max(options.min_image_size, 1):
        raise ImageError(ImageFailure.TOO_SMALL, "image too small")
    if shorter * longer > options.max_image_area:
        raise ImageError(ImageFailure.AREA, "image area too large")
    if longer / shorter > options.max_aspect_ratio:
        raise ImageError(ImageFailure.ASPECT_RATIO, "aspect ratio too large")


def plan_sizes(size: Size, options: ImageOptions) -> SizePlan:
    """Compute what an image is resized to.

    Args:
        size: of the image as it is shown; both sides at least 1.
        options: the mode and its size.

    Returns:
        The sizes, at least 1 pixel a side.

    Raises:
        ImageError: the result is over `max_image_area`, or over what the encoder can write.
    """
    plan = _plan(size, options)
    for made in (plan.scaled, plan.final):
        if made.width * made.height > options.max_image_area:
            raise ImageError(ImageFailure.RESULT_TOO_LARGE, "resized image area too large")
    if max(plan.final) > _MAX_SIDE_PX[options.encode_format]:
        text = f"image side too long for {options.encode_format}"
        raise ImageError(ImageFailure.RESULT_TOO_LARGE, text)
    return plan


def _plan(size: Size, options: ImageOptions) -> SizePlan:
    mode = options.resize_mode
    side = min(size) if mode in ("keep_ratio", "center_crop") else max(size)
    is_downscale = side > options.image_size
    if mode == "no" or (options.resize_only_if_bigger and not is_downscale):
        return SizePlan(size, size, is_downscale=False)
    scale = options.image_size / side
    scaled = Size(*(max(round(length * scale), 1) for length in size))
    square = Size(options.image_size, options.image_size)
    final = square if mode in ("center_crop", "border") else scaled
    return SizePlan(scaled, final, is_downscale)
