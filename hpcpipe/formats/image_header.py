"""What is known of an image before it is decoded: its format, size, orientation and metadata."""

from typing import NamedTuple

from hpcpipe.formats.file_magic import kind_of
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_exif import read_orientation
from hpcpipe.formats.image_jpeg_header import read_jpeg_header
from hpcpipe.formats.image_pillow import PILLOW_KINDS, open_image
from hpcpipe.formats.image_sizes import Size
from hpcpipe.formats.image_webp_header import read_webp_header

_EXIF = b"Exif\0\0"
_IMAGES_NOT_READ = frozenset({"heic", "jp2", "jxl", "svg", "psd", "ico"})


class ImageHeader(NamedTuple):
    """What is known before decoding.

    Attributes:
        kind: the format: jpg, png, webp, gif, bmp, tiff or avif.
        stored: the size as stored.
        orientation: how it is to be turned to be shown, 1 to 8 as in EXIF.
        exif: the metadata, beginning with a TIFF header; None where there is none.
        is_plain_jpeg: a JPEG of one or three components that is there to its end.
    """

    kind: str
    stored: Size
    orientation: int
    exif: bytes | None
    is_plain_jpeg: bool = False

    @property
    def shown(self) -> Size:
        """The size as it is shown. Raises nothing."""
        return self.stored.transposed() if self.orientation >= 5 else self.stored


def read_header(content: bytes) -> ImageHeader:
    """Read an image's header; nothing is decoded, and no room made for pixels.

    Args:
        content: a whole file.

    Returns:
        What it says.

    Raises:
        ImageError: it is no image, of a format that is not read, or its header is broken.
    """
    kind = _image_kind(content)
    if kind == "jpg":
        jpeg = read_jpeg_header(content)
        is_plain = jpeg.has_end and jpeg.num_components in (1, 3)
        return ImageHeader(kind, jpeg.size, read_orientation(jpeg.exif), jpeg.exif, is_plain)
    if kind == "webp":
        size, exif = read_webp_header(content)
        return ImageHeader(kind, size, read_orientation(exif), exif)
    image = open_image(content, kind)
    size = Size(*image.size)
    if kind == "tiff":
        # Pillow turns TIFFs itself, and a TIFF is its own metadata
        return ImageHeader(kind, size, 1, content)
    exif = image.info.get("exif")
    exif = exif.removeprefix(_EXIF) if isinstance(exif, bytes) else None
    return ImageHeader(kind, size, read_orientation(exif), exif)


def _image_kind(content: bytes) -> str:
    kind = kind_of(content)
    if kind in PILLOW_KINDS:
        return kind
    if kind in _IMAGES_NOT_READ:
        raise ImageError(ImageFailure.UNSUPPORTED, f"{kind} images are not read")
    text = f"not an image: {kind}" if kind else "not an image"
    raise ImageError(ImageFailure.NOT_AN_IMAGE, text)
