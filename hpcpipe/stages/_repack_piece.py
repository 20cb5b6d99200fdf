"""One sample's byte range as a small tar of its own, for scanning and copying."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from hpcpipe.formats.source import Source
from hpcpipe.formats.tar_fields import BLOCK_BYTES
from hpcpipe.stage import Output

_CHUNK_BYTES = 4 << 20
_END_BYTES = 2 * BLOCK_BYTES
"""Zeros that seem to follow the sample, as at the end of an archive."""


class Piece(Source, Protocol):
    """A source over one sample that can also be copied from."""

    def copy(self, output: Output, start: int, end: int) -> None:
        """Append bytes from `start` to `end` of the sample to an output.

        Raises:
            BadInputError: the tar ends too early.
            OSError: reading or writing failed.
        """


class _Piece(ABC):
    """What both kinds share: no file of its own, nothing to close."""

    fd: int | None = None
    size_bytes: int
    num_read = 0
    """Nothing: what is read of the tar is counted there."""

    def __init__(self, path: str, num_bytes: int) -> None:
        self.path = path
        self._num_bytes = num_bytes
        self.size_bytes = num_bytes + _END_BYTES

    @abstractmethod
    def _bytes(self, start: int, end: int) -> bytes:
        """Read a byte range of the sample itself."""

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range of the sample and the zeros behind it. Raises OSError."""
        end = min(offset + num_bytes, self.size_bytes)
        data = self._bytes(min(offset, self._num_bytes), min(end, self._num_bytes))
        return data + bytes(max(0, end - offset - len(data)))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges. Raises OSError."""
        return [self.read_at(offset, num_bytes) for offset, num_bytes in ranges]

    def count_read(self, num_bytes: int) -> None:  # noqa: B027 - nor to count
        """Count nothing; see `num_read`. Raises nothing."""

    def close(self) -> None:  # noqa: B027 - a Source may have nothing to close
        """Nothing to close. Raises nothing."""

    def __enter__(self) -> "_Piece":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class WindowPiece(_Piece):
    """A sample in memory."""

    def __init__(self, data: memoryview, path: str) -> None:
        """Wrap it.

        Args:
            data: its bytes.
            path: its tar, for messages.

        Raises:
            Nothing.
        """
        super().__init__(path, len(data))
        self._data = data

    def _bytes(self, start: int, end: int) -> bytes:
        return bytes(self._data[start:end])

    def copy(self, output: Output, start: int, end: int) -> None:
        """Append bytes to an output; see `Piece`. Raises OSError."""
        output.write(self._data[start:end])


class FilePiece(_Piece):
    """A sample in its tar, for those too large to be held in memory."""

    def __init__(self, source: Source, offset: int, num_bytes: int) -> None:
        """Point at it.

        Args:
            source: its tar.
            offset: where it begins.
            num_bytes: its length.

        Raises:
            Nothing.
        """
        super().__init__(source.path, num_bytes)
        self._source = source
        self._offset = offset

    def _bytes(self, start: int, end: int) -> bytes:
        return self._source.read_at(self._offset + start, end - start)

    def copy(self, output: Output, start: int, end: int) -> None:
        """Append bytes to an output; see `Piece`.

        Args:
            output: where to.
            start: first byte of the sample.
            end: behind the last.

        Raises:
            BadInputError: the tar ends too early.
            OSError: reading or writing failed.
        """
        if self._source.fd is not None:
            output.copy_range(self._source.fd, self._offset + start, end - start)
            self._source.count_read(end - start)
            return
        for at in range(start, end, _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, end - at)
            output.write(self._source.read_ranges([(self._offset + at, size)])[0])
