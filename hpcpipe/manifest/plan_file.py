"""One plan file, open for reading lines at any offset.

It is read and not mapped: where a filesystem fails, a mapped file kills its reader (SIGBUS), which
then cannot say why. Does not interpret the lines.
"""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.errors import naming

_CHUNK_BYTES = 4 << 20
_READ_BYTES = 16 << 10
"""Read at a time for single lines: the next ones are mostly asked for next."""


class PlanFile:
    """An open plan file; closed with its last reference.

    Attributes:
        path: its path.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._last = 0, b""
        weakref.finalize(self, os.close, self._fd)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Read it all, some megabytes at a time.

        Yields:
            Offset of the first line in bytes, and whole lines; what follows the last newline
            comes by itself.

        Raises:
            OSError: it cannot be read.
        """
        start, rest = 0, b""
        while piece := self._read(start + len(rest), _CHUNK_BYTES):
            data = rest + piece
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield start, data[:end]
                start += end
        if rest:
            yield start, rest

    def line(self, offset: int) -> bytes:
        """Read one line.

        Args:
            offset: where it begins, in bytes.

        Returns:
            The line, without its newline.

        Raises:
            OSError: it cannot be read.
        """
        start, data = self._last
        end = data.find(b"\n", offset - start) if start <= offset else -1
        if end < 0:
            start, data = self._last = offset, self._read_line(offset)
            end = data.find(b"\n")
        return data[offset - start : end if end >= 0 else None]

    def _read_line(self, offset: int) -> bytes:
        """At least one line, or what there is of it."""
        data = piece = self._read(offset, _READ_BYTES)
        while piece and b"\n" not in piece:
            piece = self._read(offset + len(data), _READ_BYTES)
            data += piece
        return data

    def _read(self, offset: int, num_bytes: int) -> bytes:
        try:
            return os.pread(self._fd, num_bytes, offset)
        except OSError as error:
            naming(error, self.path)
            raise
