"""What is to become of images: the options of resizing, filtering, encoding, and their checks."""

from dataclasses import dataclass
from typing import Literal, get_args

from hpcpipe.errors import ConfigError

ResizeMode = Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]
EncodeFormat = Literal["jpg", "png", "webp"]
Interpolation = Literal[
    "nearest", "linear", "bilinear", "cubic", "bicubic", "area", "lanczos", "lanczos4"
]

_QUALITIES: dict[str, range] = {"jpg": range(101), "png": range(10), "webp": range(1, 101)}


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What is to become of each image; the names are img2dataset's.

    Attributes:
        resize_mode: ``no``; ``keep_ratio``: the shorter side becomes `image_size`;
            ``keep_ratio_largest``: the longer side does; ``center_crop``: as keep_ratio, then the
            middle square; ``border``: as keep_ratio_largest, then white to the square.
        image_size: in pixels.
        resize_only_if_bigger: leave alone (no border, no crop either) what is not larger.
        upscale_interpolation: how images become larger.
        downscale_interpolation: how they become smaller. Only ``area`` lets JPEGs be decoded at a
            part of their size, which is the fast way.
        encode_format: what images are written as.
        encode_quality: 0 to 100 for jpg, 1 to 100 for webp, the compression 0 to 9 for png.
        skip_reencode: keep the downloaded bytes where the format is right, nothing is to be
            resized, blurred or turned upright, and there is no transparency.
        disable_all_reencoding: keep all downloaded bytes; only the headers are read.
        min_image_size: shortest side allowed, in pixels.
        max_image_area: most pixels allowed, in the image and in what it is resized to; larger ones
            are never decoded.
        max_aspect_ratio: longer side by shorter side, at most; may be infinite.
        extract_exif: give the metadata.
    """

    resize_mode: ResizeMode
    image_size: int
    resize_only_if_bigger: bool
    upscale_interpolation: Interpolation
    downscale_interpolation: Interpolation
    encode_format: EncodeFormat
    encode_quality: int
    skip_reencode: bool
    disable_all_reencoding: bool
    min_image_size: int
    max_image_area: int
    max_aspect_ratio: float
    extract_exif: bool

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one is out of its range.
        """
        _check_word("resize_mode", self.resize_mode, get_args(ResizeMode))
        _check_word("encode_format", self.encode_format, get_args(EncodeFormat))
        for name in ("upscale_interpolation", "downscale_interpolation"):
            _check_word(name, getattr(self, name), get_args(Interpolation))
        check_quality("encode_quality", self.encode_quality, self.encode_format)
        for name, least in (("image_size", 1), ("min_image_size", 0), ("max_image_area", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}, and must be {least} or more")
        # not "< 1", which NaN is not
        if not self.max_aspect_ratio >= 1:
            raise ConfigError(
                f"max_aspect_ratio is {self.max_aspect_ratio}, and must be 1 or more (.inf for any)"
            )


def check_quality(name: str, quality: int, encode_format: EncodeFormat) -> None:
    """Check a quality against its format.

    Args:
        name: the option, for messages.
        quality: as in `ImageOptions.encode_quality`.
        encode_format: what it is the quality of.

    Returns:
        Nothing.

    Raises:
        ConfigError: it is out of its range.
    """
    qualities = _QUALITIES[encode_format]
    if quality not in qualities:
        raise ConfigError(
            f"{name} is {quality}, and goes from {qualities[0]} to {qualities[-1]} for "
            f"{encode_format}"
        )


def _check_word(name: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ConfigError(f"{name} is {word!r}, and must be one of {', '.join(words)}")
