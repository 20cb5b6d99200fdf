"""One output in the making: written under a temporary name, its checksum computed on the way."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import xxhash

from hpcpipe.errors import BadInputError, naming
from hpcpipe.manifest.files import write_all
from hpcpipe.stage import OutputFile

COPY_BYTES = 256 << 10
"""Small writes are gathered to this, which stays in a core's cache between reading and writing."""

WRITE_BYTES = 1 << 20
"""Most that one system call is given: larger ones were seen to be three times slower."""


class _Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


CHECKSUMS: dict[str, Callable[[], _Hasher]] = {
    "xxh3_128": xxhash.xxh3_128,
    "sha256": hashlib.sha256,
}
"""Content checksums by name; xxh3_128 costs a few percent of a copy, sha256 many times that."""


class StagedFile:
    """One output in the making; what `Stage.process` writes to.

    Attributes:
        name: final path relative to the output folder.
        num_samples: samples in it, for the manifest.
        inode: the file's inode number, which it keeps under its final name.
    """

    def __init__(self, name: str, temp: Path, checksum: str) -> None:
        """Create the temporary file.

        Args:
            name: final path relative to the output folder.
            temp: where it is written.
            checksum: one of `CHECKSUMS`.

        Raises:
            OSError: it cannot be created.
        """
        self.name = name
        self.num_samples: int | None = None
        self.temp = temp
        self._algorithm = checksum
        self._hasher = CHECKSUMS[checksum]()
        self._size_bytes = 0
        self._buffer = memoryview(bytearray())
        self._num_buffered = 0
        self.fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        self.inode = os.fstat(self.fd).st_ino

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes.

        Args:
            data: any contiguous buffer.

        Returns:
            Their number.

        Raises:
            OSError: writing failed.
        """
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        num_bytes = len(data)
        start = self._num_buffered
        if start + num_bytes > len(self._buffer):
            self.flush()
            start = 0
            if num_bytes >= COPY_BYTES:
                self._append(data)
                return num_bytes
        self._buffer[start : start + num_bytes] = data
        self._num_buffered = start + num_bytes
        return num_bytes

    def copy_range(self, fd: int, offset_bytes: int, num_bytes: int) -> None:
        """Append a byte range of an open local file.

        Args:
            fd: the file.
            offset_bytes: where the range begins.
            num_bytes: its length.

        Raises:
            BadInputError: the file ends before the range does.
            OSError: reading or writing failed.
        """
        end = offset_bytes + num_bytes
        while offset_bytes < end:
            start = self._num_buffered
            if start == len(self._buffer):
                self.flush()
                start = 0
            room = self._buffer[start : start + end - offset_bytes]
            num_read = os.preadv(fd, [room], offset_bytes)
            if num_read == 0:
                raise BadInputError(f"an input ends at byte {offset_bytes}, {end} were expected")
            self._num_buffered = start + num_read
            offset_bytes += num_read

    def flush(self) -> None:
        """Hand what is buffered to the system.

        Raises:
            OSError: writing failed.
        """
        if self._num_buffered:
            self._append(self._buffer[: self._num_buffered])
            self._num_buffered = 0
        elif not self._buffer and self.fd >= 0:
            self._buffer = memoryview(bytearray(COPY_BYTES))

    def _append(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            piece = view[start : start + WRITE_BYTES]
            try:
                write_all(self.fd, piece)
            except OSError as error:
                naming(error, self.temp)
                raise
            self._hasher.update(piece)
            self._size_bytes += len(piece)

    def tell(self) -> int:
        """Number of bytes written so far. Raises nothing."""
        return self._size_bytes + self._num_buffered

    def finish(self) -> None:
        """Make the content durable and close the file: nothing more will be written.

        Raises:
            OSError: writing failed.
        """
        self.flush()
        self.close(sync=True)
        self._buffer = memoryview(b"")

    def close(self, *, sync: bool) -> None:
        """Close the temporary file; what is buffered and not flushed is given up.

        Args:
            sync: make its content durable first.

        Raises:
            OSError: the filesystem reports a late write error.
        """
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                try:
                    if sync:
                        os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError as error:
                naming(error, self.temp)
                raise

    def record(self) -> OutputFile:
        """What the manifest says of it. Raises nothing."""
        return OutputFile(
            path=self.name,
            size_bytes=self._size_bytes,
            checksum=f"{self._algorithm}:{self._hasher.hexdigest()}",
            num_samples=None if self.num_samples is None else int(self.num_samples),
        )
