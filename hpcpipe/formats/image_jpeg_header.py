"""What a JPEG's segments say before its first scan: size, components, metadata.

Markers are found as libjpeg finds them, so that the size told here is the size it would decode.
"""

from typing import NamedTuple

from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_sizes import Size

_MAX_SEGMENTS = 4_096
"""More before the image than any program writes: they would only keep the reader busy."""

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_FRAMES_WE_READ = frozenset({0xC0, 0xC1, 0xC2})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF = b"Exif\0\0"


class JpegHeader(NamedTuple):
    """What is known before decoding.

    Attributes:
        size: as stored.
        num_components: 1 gray, 3 colour, 4 CMYK.
        exif: the metadata, beginning with its TIFF header; None where there is none.
        has_end: whether the mark that ends the image is there.
    """

    size: Size
    num_components: int
    exif: bytes | None
    has_end: bool


def read_jpeg_header(content: bytes) -> JpegHeader:
    """Read the segments up to the first scan.

    Args:
        content: a file that begins as a JPEG does.

    Returns:
        What they say.

    Raises:
        ImageError: they are broken, end early, or the kind of JPEG is not supported.
    """
    frame, exif, pos = b"", None, 2
    for _ in range(_MAX_SEGMENTS):
        marker, pos = _next_marker(content, pos)
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _END:
            raise ImageError(ImageFailure.BROKEN, "JPEG without an image")
        length = int.from_bytes(content[pos : pos + 2])
        segment = content[pos + 2 : pos + length]
        if length < 2 or len(segment) != length - 2:
            break
        if marker == _SCAN:
            return JpegHeader(*_read_frame(frame), exif, content.rfind(b"\xff\xd9", pos) >= 0)
        if marker in _FRAMES:
            _check_frame(marker, frame)
            frame = segment
        elif marker == _APP1 and exif is None and segment.startswith(_EXIF):
            exif = segment[len(_EXIF) :]
        pos += length
    else:
        raise ImageError(ImageFailure.BROKEN, "JPEG with too many segments")
    raise ImageError(ImageFailure.TRUNCATED, "JPEG ends before its image")


def _next_marker(content: bytes, pos: int) -> tuple[int, int]:
    """Find a marker, whatever lies before it; gives its code and the position behind it."""
    while (pos := content.find(b"\xff", pos)) >= 0:
        while content[pos : pos + 1] == b"\xff":
            pos += 1
        if content[pos : pos + 1] != b"\0":
            break
    if not 0 <= pos < len(content):
        raise ImageError(ImageFailure.TRUNCATED, "JPEG ends before its image")
    return content[pos], pos + 1


def _check_frame(marker: int, earlier: bytes) -> None:
    if marker not in _FRAMES_WE_READ:
        raise ImageError(ImageFailure.UNSUPPORTED, "JPEG of an unusual kind (lossless, arithmetic)")
    if earlier:
        raise ImageError(ImageFailure.BROKEN, "JPEG with two frames")


def _read_frame(frame: bytes) -> tuple[Size, int]:
    if len(frame) < 6:
        raise ImageError(ImageFailure.BROKEN, "JPEG without a size")
    if frame[0] != 8:
        raise ImageError(ImageFailure.UNSUPPORTED, "JPEG of more than 8 bits")
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return Size(width, height), frame[5]
