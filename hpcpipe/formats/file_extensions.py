"""The extension a downloaded file gets: from its content type, its first bytes, its URL.

What comes out is always safe in a file name: lower-case letters and digits, or two such parts
with a dot between them. Whether the content is sound is not looked at.
"""

import re
from urllib.parse import unquote, urlsplit

from hpcpipe.formats.file_magic import kind_of

UNKNOWN = "bin"
"""The extension of what nothing tells anything about."""

_TYPES = {
    "application/epub+zip": "epub",
    "application/gzip": "gz",
    "application/json": "json",
    "application/pdf": "pdf",
    "application/vnd.apache.parquet": "parquet",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-gzip": "gz",
    "application/x-ndjson": "jsonl",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/xhtml+xml": "html",
    "application/xml": "xml",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/m4a": "m4a",
    "audio/midi": "mid",
    "audio/mp3": "mp3",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/vnd.wave": "wav",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/webm": "webm",
    "audio/x-flac": "flac",
    "audio/x-m4a": "m4a",
    "audio/x-wav": "wav",
    "image/apng": "png",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heic",
    "image/jp2": "jp2",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/jxl": "jxl",
    "image/pjpeg": "jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "image/x-icon": "ico",
    "image/x-ms-bmp": "bmp",
    "image/x-png": "png",
    "text/csv": "csv",
    "text/markdown": "md",
    "text/tab-separated-values": "tsv",
    "text/vtt": "vtt",
    "text/xml": "xml",
    "video/mp4": "mp4",
    "video/mpeg": "mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}
_WEAK_TYPES = {"text/html": "html", "text/plain": "txt"}
"""What servers say of anything; believed where neither the bytes nor the URL say more."""

_SAME = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tif": "tiff", "htm": "html", "tgz": "tar.gz"}
_PROGRAMS = frozenset(("asp", "aspx", "cgi", "do", "jsp", "php"))
_COMPRESSIONS = ("gz", "bz2", "xz", "zst")
_SAFE = re.compile(r"(?=[0-9]*[a-z])[a-z0-9]{1,8}").fullmatch


def extension_of(content_type: str | None, content: bytes, url: str) -> str:
    """Choose a file's extension.

    Args:
        content_type: the header's value, parameters and all; None where there was none.
        content: the file, or its beginning.
        url: where it came from, after redirects.

    Returns:
        The extension without a dot, such as ``jpg``, ``flac`` or ``tar.gz``; `UNKNOWN` where
        nothing tells.

    Raises:
        Nothing.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    from_url = _in_url(url)
    chosen = (
        _TYPES.get(media_type)
        or kind_of(content)
        or from_url
        or _WEAK_TYPES.get(media_type, UNKNOWN)
    )
    if chosen in _COMPRESSIONS and from_url is not None and from_url.endswith(f".{chosen}"):
        return from_url
    return chosen


def is_web_page(content_type: str | None, content: bytes) -> bool:
    """Tell whether a page came, such as an error or a log-in, where a file was wanted.

    Args:
        content_type: the header's value; None where there was none.
        content: the file, or its beginning.

    Returns:
        True where the bytes are HTML, or are said to be and look like nothing else.

    Raises:
        Nothing.
    """
    kind = kind_of(content)
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return kind == "html" or (kind is None and media_type in ("text/html", "application/xhtml+xml"))


def _in_url(url: str) -> str | None:
    """What the last part of a URL's path ends with; None where that is no kind of file."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    name = re.split("[:;]", unquote(path).rpartition("/")[2].lower())[0]
    stem, _, suffix = name.rpartition(".")
    if not stem or suffix in _PROGRAMS or not _SAFE(suffix):
        return None
    suffix = _SAME.get(suffix, suffix)
    stem, _, inner = stem.rpartition(".")
    if stem and suffix in _COMPRESSIONS and _SAFE(inner):
        return f"{inner}.{suffix}"
    return suffix
