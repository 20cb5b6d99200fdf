"""An open source as a Python file object, for libraries that want one; read only."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from hpcpipe.formats.source import Source


class SourceFile(io.RawIOBase):
    """Reads where `seek` says; closes the source with itself."""

    def __init__(self, source: "Source") -> None:
        """Begin at the first byte. Raises nothing."""
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Always True. Raises nothing."""
        return True

    def seekable(self) -> bool:
        """Always True. Raises nothing."""
        return True

    def tell(self) -> int:
        """Offset in bytes. Raises nothing."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset.

        Args:
            offset: in bytes.
            whence: from the start, from here or from the end.

        Returns:
            The offset from the start.

        Raises:
            ValueError: it lies before the start.
        """
        base = (0, self._at, self._source.size_bytes)[whence]
        if base + offset < 0:
            raise ValueError(f"no offset can be {base + offset}")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read on.

        Args:
            size: number of bytes; negative for all that are left.

        Returns:
            The bytes; fewer only at the end.

        Raises:
            BadInputError: the file is gone or may not be read.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: a local read failed.
        """
        left = max(self._source.size_bytes - self._at, 0)
        data = self._source.read_at(self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read into a buffer; returns the number of bytes. Raises what `read` raises."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the source. Raises what the source raises."""
        if not self.closed:
            self._source.close()
        super().close()
