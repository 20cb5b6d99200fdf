"""A remote source that keeps what it has read lately, for readers that look ahead and come back."""

from collections.abc import Sequence

from hpcpipe.formats.source import Source

BLOCK_BYTES = 4 << 20
NUM_BLOCKS = 8


class KeepBehind:
    """Serves the last `NUM_BLOCKS` blocks from memory; closes with the source it wraps.

    Attributes:
        path: the source's.
        size_bytes: the source's.
        fd: always None.
    """

    fd: int | None = None

    def __init__(self, source: Source) -> None:
        """Wrap a source. Raises nothing."""
        self.path = source.path
        self.size_bytes = source.size_bytes
        self._source = source
        self._blocks: dict[int, bytes] = {}

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range, fewer bytes only at the end.

        Args:
            offset: first byte.
            num_bytes: how many.

        Returns:
            The bytes.

        Raises:
            BadInputError: the object is gone or may not be read.
            TransientShardError: the store failed.
        """
        end = min(offset + num_bytes, self.size_bytes)
        parts = []
        while offset < end:
            number, start = divmod(offset, BLOCK_BYTES)
            part = self._block(number)[start : start + end - offset]
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read several ranges; as for the source. Raises what the source raises."""
        return self._source.read_ranges(ranges)

    def close(self) -> None:
        """Close the source. Raises what the source raises."""
        self._blocks.clear()
        self._source.close()

    def __enter__(self) -> "KeepBehind":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            while len(self._blocks) >= NUM_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            block = self._source.read_at(number * BLOCK_BYTES, BLOCK_BYTES)
            self._blocks[number] = block
        return block
