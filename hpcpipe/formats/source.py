"""One way to read bytes at an offset: from a local file, a URL, or a gzip-compressed tar.

Does not interpret the bytes.
"""

import contextlib
import errno
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from hpcpipe.errors import BadInputError, naming
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.formats.remote_source import RemoteSource

GZIP_SUFFIXES = (".tar.gz", ".tgz")
TAR_SUFFIXES = (".tar", *GZIP_SUFFIXES)
MAX_GZIP_RATIO = 200
"""A tar that grows more than this when decompressed, and past `FREE_GZIP_BYTES`, is refused."""
FREE_GZIP_BYTES = 1 << 30
MIN_FREE_SCRATCH_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """A file open for reading at any offset; a context manager.

    Attributes:
        path: path or URL as it was given.
        size_bytes: size of the (decompressed) content.
        fd: file descriptor of a local file with that content, else None.
    """

    path: str
    size_bytes: int
    fd: int | None

    @property
    def num_read(self) -> int:
        """Bytes taken from the file or the store so far; for a compressed tar, all of it."""

    def count_read(self, num_bytes: int) -> None:
        """Add bytes that were read through `fd` to `num_read`. Raises nothing."""

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range, fewer bytes only at the end.

        Raises:
            BadInputError: the file is gone or may not be read.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: a local read failed.
        """

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several (offset, number of bytes) ranges, remotely at the same time.

        Raises:
            BadInputError: a range is not wholly inside the file, or as for `read_at`.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: a local read failed.
        """

    def close(self) -> None:
        """Close it. Raises nothing."""

    def __enter__(self) -> "Source": ...

    def __exit__(self, *exc: object) -> None: ...


class LocalSource:
    """A local file, read with ``pread``; it owns and closes its descriptor.

    Attributes:
        path: name for messages.
        size_bytes: its size.
        fd: its descriptor.
        num_read: bytes read of it so far.
    """

    def __init__(self, path: str, fd: int) -> None:
        """Take over a descriptor.

        Args:
            path: name for messages.
            fd: an open descriptor.

        Raises:
            OSError: its size cannot be read.
        """
        self.path = path
        self.fd: int | None = fd
        self._fd = fd
        self.num_read = 0
        self.size_bytes = os.fstat(fd).st_size

    def count_read(self, num_bytes: int) -> None:
        """Add bytes that were read through `fd` to `num_read`. Raises nothing."""
        self.num_read += num_bytes

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range, fewer bytes only at the end. Raises OSError."""
        data = self._pread(num_bytes, offset)
        if len(data) == num_bytes or offset + len(data) >= self.size_bytes:
            return data
        parts = [data]
        got = len(data)
        while got < num_bytes and data:  # the kernel reads at most 2 GiB at a time
            data = self._pread(num_bytes - got, offset + got)
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def _pread(self, num_bytes: int, offset: int) -> bytes:
        try:
            data = os.pread(self._fd, num_bytes, offset)
        except OSError as error:
            naming(error, self.path)
            raise
        self.count_read(len(data))
        return data

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several (offset, number of bytes) ranges.

        Raises:
            BadInputError: the file ends before a range does.
            OSError: reading failed.
        """
        parts = []
        for offset, num_bytes in ranges:
            data = self.read_at(offset, num_bytes)
            if len(data) != num_bytes:
                raise BadInputError(f"{self.path} ends inside the {num_bytes} bytes at {offset}")
            parts.append(data)
        return parts

    def close(self) -> None:
        """Close the descriptor. Raises OSError."""
        if self.fd is not None:
            self.fd = None
            os.close(self._fd)

    def __enter__(self) -> "LocalSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _UnpackedSource(LocalSource):
    """The copy of a compressed tar: what it took is the compressed file, however often it is read.

    Attributes:
        num_read: size of the compressed file in bytes.
    """

    def __init__(self, path: str, fd: int, packed_bytes: int) -> None:
        super().__init__(path, fd)
        self.num_read = packed_bytes

    def count_read(self, num_bytes: int) -> None:
        """Count nothing: the copy is no input. Raises nothing."""


def open_source(path: str, scratch: Path | None = None) -> Source:
    """Open a file for reading at any offset.

    Args:
        path: local path or fsspec URL; one that ends in ``.tar.gz`` or ``.tgz`` is decompressed
            once, and its offsets are those of the decompressed tar.
        scratch: folder for decompressed tars; None means the system's temporary folder. The
            file there has no name and is gone when the source is closed.

    Returns:
        The open source, to be used in a ``with``.

    Raises:
        BadInputError: it does not exist, may not be read, is no file, or is a broken or
            abnormally large gzip.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        SetupError: the package for this kind of URL is not installed.
        ConfigError: the URL's scheme is unknown.
        OSError: reading failed, or scratch is full.
    """
    if path.endswith(GZIP_SUFFIXES):
        return _decompress(path, scratch)
    if is_remote(path):
        return RemoteSource(path)
    return LocalSource(path, _open_local(path))


def read_whole(path: str) -> bytes:
    """Read a file.

    Args:
        path: path or URL.

    Returns:
        Its content.

    Raises:
        HpcPipeError: it is gone, or its store is down.
        OSError: reading failed.
    """
    with open_source(path) as source:
        return source.read_at(0, source.size_bytes)


def _open_local(path: str) -> int:
    try:
        fd = os.open(path.removeprefix("file://"), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BadInputError(f"{path} does not exist") from error
    except PermissionError as error:
        raise BadInputError(
            f"{path} may not be read (permission denied); mend it with chmod u+r"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO):
            raise BadInputError(f"{path} cannot be opened: {error.strerror}") from error
        raise
    mode = os.fstat(fd).st_mode
    if mode & 0o170000 != 0o100000:
        os.close(fd)
        raise BadInputError(f"{path} is not a regular file")
    return fd


def _decompress(path: str, scratch: Path | None) -> _UnpackedSource:
    raw, compressed_bytes = _open_raw(path)
    limit_bytes = max(FREE_GZIP_BYTES, MAX_GZIP_RATIO * compressed_bytes)
    with raw, tempfile.TemporaryFile(dir=scratch) as temp:
        with remote_errors(path) if is_remote(path) else contextlib.nullcontext():
            try:
                _inflate(path, raw, temp, limit_bytes, scratch or Path(tempfile.gettempdir()))
            except (gzip.BadGzipFile, zlib.error) as error:
                raise BadInputError(f"{display(path)} is not a sound gzip file: {error}") from error
            except EOFError as error:
                raise BadInputError(f"{display(path)} is truncated: its gzip data ends") from error
        temp.flush()
        return _UnpackedSource(path, os.dup(temp.fileno()), compressed_bytes)


def _open_raw(path: str) -> tuple[IO[bytes], int]:
    if not is_remote(path):
        fd = _open_local(path)
        return os.fdopen(fd, "rb"), os.fstat(fd).st_size
    fs, name = filesystem(path)
    with remote_errors(path):
        raw = fs.open(name, "rb", block_size=8 << 20)
    return raw, int(raw.size)


def _inflate(path: str, raw: IO[bytes], temp: IO[bytes], limit_bytes: int, folder: Path) -> None:
    num_bytes = 0
    checked_bytes = -MIN_FREE_SCRATCH_BYTES
    with gzip.GzipFile(fileobj=raw) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > limit_bytes:
                raise BadInputError(
                    f"{display(path)} decompresses to more than {limit_bytes} bytes, over "
                    f"{MAX_GZIP_RATIO} times its size: refused as a decompression bomb"
                )
            if num_bytes - checked_bytes >= MIN_FREE_SCRATCH_BYTES // 4:
                checked_bytes = num_bytes
                if shutil.disk_usage(folder).free < MIN_FREE_SCRATCH_BYTES:
                    raise OSError(errno.ENOSPC, "no room left to decompress into", str(folder))
            temp.write(chunk)
