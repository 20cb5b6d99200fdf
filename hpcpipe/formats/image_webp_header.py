"""What a WebP's chunks say before it is decoded: size and metadata.

Decoders make room for the whole image as soon as they are made, so its size has to be known first.
"""

from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_sizes import Size

_MAX_CHUNKS = 4_096
"""More would only keep the reader busy: each frame of an animation is one."""

_EXIF = b"Exif\0\0"


def read_webp_header(content: bytes) -> tuple[Size, bytes | None]:
    """Read the size and the metadata.

    Args:
        content: a file that begins as a WebP does.

    Returns:
        The size, and the metadata from its TIFF header on; None where there is none.

    Raises:
        ImageError: the file is broken or ends early.
    """
    if int.from_bytes(content[4:8], "little") + 8 > len(content):
        raise ImageError(ImageFailure.TRUNCATED, "WebP is truncated")
    size = _read_size(content[12:16], content[20:30])
    if size is None:
        raise ImageError(ImageFailure.BROKEN, "WebP without a size")
    return size, _find_exif(content) if content[12:16] == b"VP8X" else None


def _read_size(chunk: bytes, head: bytes) -> Size | None:
    if chunk == b"VP8X" and len(head) == 10:
        width, height = head[4:7], head[7:10]
        return Size(int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1)
    if chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10:
        width, height = head[6:8], head[8:10]
        return Size(
            int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
        )
    if chunk == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    return None


def _find_exif(content: bytes) -> bytes | None:
    pos = 12
    for _ in range(_MAX_CHUNKS):
        name, length = content[pos : pos + 4], int.from_bytes(content[pos + 4 : pos + 8], "little")
        if len(name) < 4:
            break
        if name == b"EXIF":
            return content[pos + 8 : pos + 8 + length].removeprefix(_EXIF)
        pos += 8 + length + length % 2
    return None
