"""An image as it was downloaded to the image that is written, by one call."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hpcpipe.errors import ConfigError
from hpcpipe.formats.image_blur import Box, blur, check_boxes
from hpcpipe.formats.image_decode import decode, open_libraries
from hpcpipe.formats.image_encode import encode
from hpcpipe.formats.image_exif import read_exif
from hpcpipe.formats.image_header import ImageHeader, read_header
from hpcpipe.formats.image_options import ImageOptions
from hpcpipe.formats.image_pillow import decoder_errors
from hpcpipe.formats.image_pixels import fit_to, resize, upright
from hpcpipe.formats.image_sizes import Size, SizePlan, check_size, plan_sizes


class ResizedImage(NamedTuple):
    """An image that is to be written. Sizes are those it is shown at, turned upright.

    Attributes:
        content: the file.
        extension: what it is, without a dot.
        width: of this file, in pixels.
        height: of this file, in pixels.
        original_width: of the file downloaded, in pixels.
        original_height: of the file downloaded, in pixels.
        exif: metadata of the file downloaded, as text by name; None where it was not asked for.
    """

    content: bytes
    extension: str
    width: int
    height: int
    original_width: int
    original_height: int
    exif: Mapping[str, str] | None


class ImageResizer:
    """Filters, resizes and encodes images; threads may share one.

    Written images are upright, 8-bit RGB, and carry neither metadata nor a colour profile; profiles
    are not applied. What is transparent becomes white; of animations and pages the first is taken.
    A JPEG that is to become smaller by ``area`` is decoded at a half, a quarter or an eighth.
    """

    def __init__(self, options: ImageOptions) -> None:
        """Load what it takes.

        Args:
            options: what is to become of the images.

        Raises:
            SetupError: a library is missing.
        """
        open_libraries("download", "resizing images")
        self._options = options

    def __call__(
        self, content: bytes, boxes: Sequence[Sequence[float]] | None = None
    ) -> ResizedImage:
        """Make the image that is to be written.

        Args:
            content: a whole file.
            boxes: what to blur: left, top, right and bottom of each, 0 to 1, relative to the image
                as it is shown; None for nothing.

        Returns:
            The image.

        Raises:
            ImageError: the image is to be left out.
            ConfigError: there are boxes to blur, and nothing is to be encoded again.
            MemoryError: there is no room for it.
        """
        options = self._options
        header = read_header(content)
        shown = header.shown
        check_size(shown, options)
        exif = read_exif(header.exif or b"") if options.extract_exif else None
        checked = check_boxes(boxes)
        if options.disable_all_reencoding:
            if checked:
                raise ConfigError("images cannot be blurred with disable_all_reencoding")
            return ResizedImage(content, header.kind, *shown, *shown, exif)
        plan = plan_sizes(shown, options)
        with decoder_errors(header.kind):
            written = self._make(content, header, plan, checked)
        return ResizedImage(written, options.encode_format, *plan.final, *shown, exif)

    def _make(self, content: bytes, header: ImageHeader, plan: SizePlan, boxes: list[Box]) -> bytes:
        options = self._options
        may_keep = (
            options.skip_reencode
            and header.kind == options.encode_format
            and header.orientation == 1
            and plan.scaled == plan.final == header.stored
            and not boxes
        )
        turned = header.orientation >= 5
        scaled = plan.scaled.transposed() if turned else plan.scaled
        least = None
        if may_keep:
            least = Size(1, 1)
        elif plan.is_downscale and options.downscale_interpolation == "area":
            least = scaled
        pixels, had_alpha = decode(content, header, least)
        if may_keep and not had_alpha:
            return content
        interpolation = (
            options.downscale_interpolation if plan.is_downscale else options.upscale_interpolation
        )
        pixels = upright(resize(pixels, scaled, interpolation), header.orientation)
        pixels = fit_to(blur(pixels, boxes), plan.final)
        return encode(pixels, options.encode_format, options.encode_quality)
