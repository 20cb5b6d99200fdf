"""What every use of an fsspec URL (``s3://``, ``https://``, ...) needs: opening, errors, ranges.

Messages never carry a URL's credentials or query.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from hpcpipe.errors import (
    BadInputError,
    ConfigError,
    HpcPipeError,
    TransientShardError,
    missing_extra,
)

CONCURRENT_RANGES = 32

_SECRET_PARTS = re.compile(r"(?<=://)[^/@\s]*@|(?<=[^\s])\?[^\s'\"]*=[^\s'\"]*")
_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}


def is_remote(path: str) -> bool:
    """Tell whether a location is a URL to be opened by fsspec. Raises nothing.

    Args:
        path: path or URL; ``file://`` counts as local.

    Returns:
        True for URLs of any other scheme.
    """
    return "://" in path and not path.startswith("file://")


def display(path: str) -> str:
    """Make a path or URL fit for messages and logs.

    Args:
        path: path or URL.

    Returns:
        The same without user, password and query string, which may be secrets.

    Raises:
        Nothing.
    """
    if not is_remote(path):
        return path
    shown = re.sub(r"://[^/@]*@", "://", path)
    return shown.split("?", 1)[0] if shown.startswith("http") else shown


def filesystem(url: str) -> tuple[Any, str]:
    """Open the filesystem a URL lives on.

    Args:
        url: any URL fsspec knows.

    Returns:
        The fsspec filesystem and the path inside it.

    Raises:
        SetupError: the filesystem's package is not installed.
        ConfigError: no filesystem has this scheme.
    """
    from fsspec.core import url_to_fs

    scheme = url.split("://", 1)[0]
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        if scheme in _EXTRAS:
            raise missing_extra(*_EXTRAS[scheme], f"{scheme}:// locations") from error
        raise ConfigError(f"{scheme}:// locations need another package: {error}") from error
    except ValueError as error:
        raise ConfigError(
            f"{display(url)}: no filesystem is known for {scheme}://; use a path or a URL such as "
            "s3://bucket/folder"
        ) from error
    return fs, path


def version_of(info: dict[str, Any]) -> str:
    """Take from a listing entry what changes when the object does.

    Args:
        info: one entry of fsspec's ``info`` or ``ls(detail=True)``.

    Returns:
        The ETag without quotes, else the modification time, else "".

    Raises:
        Nothing.
    """
    for name in ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return str(value.timestamp())
        if value:
            return str(value).strip('"')
    return ""


@contextlib.contextmanager
def remote_errors(path: str) -> Iterator[None]:
    """Turn a store's errors into ours.

    Args:
        path: URL named in the message.

    Raises:
        BadInputError: the object does not exist or may not be read.
        TransientShardError: any other failure of the store or the network.
    """
    where = display(path)
    try:
        yield
    except FileNotFoundError as error:
        raise BadInputError(f"{where} does not exist") from error
    except PermissionError as error:
        raise BadInputError(f"{where} may not be read: {error.strerror or error}") from error
    except HpcPipeError:
        raise
    except Exception as error:  # every store's client has exceptions of its own
        reason = f"{type(error).__name__}: {_SECRET_PARTS.sub('', str(error))}"
        raise TransientShardError(f"{where} could not be read: {reason}") from error


def read_many(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Read byte ranges of many objects at once.

    Args:
        ranges: (URL, offset, number of bytes) of each, all of one kind of store.

    Returns:
        Their bytes, in order.

    Raises:
        BadInputError: an object is gone or ends before a range does.
        TransientShardError: the store failed.
    """
    if not ranges:
        return []
    fs, _ = filesystem(ranges[0][0])
    names = [fs._strip_protocol(url) for url, _, _ in ranges]
    starts = [offset for _, offset, _ in ranges]
    ends = [offset + num_bytes for _, offset, num_bytes in ranges]
    options = {"batch_size": CONCURRENT_RANGES} if fs.async_impl else {}
    with remote_errors(ranges[0][0]):
        parts: list[bytes] = fs.cat_ranges(names, starts, ends, on_error="raise", **options)
    for (url, offset, num_bytes), part in zip(ranges, parts, strict=True):
        if len(part) != num_bytes:
            raise BadInputError(f"{display(url)} ends inside the {num_bytes} bytes at {offset}")
    return parts
