"""Byte-range reading from fsspec URLs (``s3://``, ``https://``, ...).

Does not write and does not list folders. Messages never carry a URL's credentials or query.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

from hpcpipe.errors import BadInputError, ConfigError, TransientShardError, missing_extra

READ_AHEAD_BYTES = 8 << 20
JUMP_BYTES = 256 << 10
CONCURRENT_RANGES = 32

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
    except (OSError, TimeoutError) as error:
        raise TransientShardError(
            f"{where} could not be read: {type(error).__name__}: {error}"
        ) from error


class RemoteSource:
    """A remote object, read by byte ranges.

    Attributes:
        path: its URL.
        size_bytes: its size.
        fd: always None.
    """

    fd: int | None = None

    def __init__(self, url: str) -> None:
        """Look the object up.

        Args:
            url: its URL.

        Raises:
            BadInputError: it does not exist, may not be read, or its size is unknown.
            TransientShardError: the store did not answer.
        """
        self.path = url
        self._fs, self._name = filesystem(url)
        with remote_errors(url):
            info = self._fs.info(self._name)
        if info.get("size") is None:
            raise BadInputError(f"{display(url)}: the server does not say its size")
        self.size_bytes = int(info["size"])
        self._offset = 0
        self._block = b""
        self._last_end = 0
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[bytes]] | None = None

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range; forward reading is served from blocks fetched ahead.

        Args:
            offset: first byte.
            num_bytes: how many.

        Returns:
            The bytes; fewer only at the end of the object.

        Raises:
            BadInputError: the object is gone or may not be read.
            TransientShardError: the store failed.
        """
        end = min(offset + num_bytes, self.size_bytes)
        if end <= offset:
            return b""
        parts = []
        at = offset
        while at < end:
            if not self._offset <= at < self._offset + len(self._block):
                self._load(at, end)
            part = self._block[at - self._offset : end - self._offset]
            parts.append(part)
            at += len(part)
        self._last_end = end
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several byte ranges at once.

        Args:
            ranges: (offset, number of bytes) pairs.

        Returns:
            Their bytes, in order.

        Raises:
            BadInputError: the object is gone or ends before a range does.
            TransientShardError: the store failed.
        """
        return read_many([(self.path, offset, num_bytes) for offset, num_bytes in ranges])

    def close(self) -> None:
        """Stop reading ahead. Raises nothing."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead = None
        self._block = b""

    def __enter__(self) -> "RemoteSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _fetch(self, offset: int, num_bytes: int) -> bytes:
        end = min(offset + num_bytes, self.size_bytes)
        with remote_errors(self.path):
            data: bytes = self._fs.cat_file(self._name, start=offset, end=end)
        if len(data) != end - offset:
            raise BadInputError(
                f"{display(self.path)} became shorter: no {end - offset} bytes at {offset}"
            )
        return data

    def _load(self, at: int, end: int) -> None:
        """Make the block that covers `at` the current one, and start on the next."""
        forward = self._last_end <= at <= self._last_end + READ_AHEAD_BYTES or at == 0
        if self._ahead is not None and self._ahead[0] <= at < self._ahead[0] + READ_AHEAD_BYTES:
            self._offset, self._block = self._ahead[0], self._ahead[1].result()
        else:
            size = READ_AHEAD_BYTES if forward else min(max(end - at, JUMP_BYTES), READ_AHEAD_BYTES)
            self._offset, self._block = at, self._fetch(at, size)
        self._ahead = None
        following = self._offset + len(self._block)
        if forward and following < self.size_bytes:
            self._pool = self._pool or ThreadPoolExecutor(1, "hpcpipe-read-ahead")
            self._ahead = (following, self._pool.submit(self._fetch, following, READ_AHEAD_BYTES))


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
