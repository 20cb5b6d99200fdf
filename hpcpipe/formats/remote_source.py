"""A remote object as a source: byte ranges, reading ahead, and keeping what was read lately.

Does not unpack; gzip-compressed objects are fetched and unpacked by ``source``.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display, filesystem
from hpcpipe.formats.remote_errors import remote_errors

if TYPE_CHECKING:
    from hpcpipe.formats.source import Source

CONCURRENT_RANGES = 32
READ_AHEAD_BYTES = 8 << 20
JUMP_BYTES = 256 << 10
BLOCK_BYTES = 4 << 20
NUM_BLOCKS = 8


class RemoteSource:
    """A remote object, read by byte ranges.

    Attributes:
        path: its URL.
        size_bytes: its size.
        fd: always None.
        num_read: bytes asked of the store so far, those read ahead included.
    """

    fd: int | None = None

    def __init__(self, url: str) -> None:
        """Look the object up.

        Args:
            url: its URL.

        Raises:
            BadInputError: it does not exist, may not be read, or its size is unknown.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
        """
        self.path = url
        self._fs, self._name = filesystem(url)
        with remote_errors(url):
            info = self._fs.info(self._name)
        if info.get("size") is None:
            raise BadInputError(f"{display(url)}: the server does not say its size")
        self.size_bytes = int(info["size"])
        self.num_read = 0
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
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
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
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
        """
        self.count_read(sum(num_bytes for _, num_bytes in ranges))
        return read_many([(self.path, offset, num_bytes) for offset, num_bytes in ranges])

    def count_read(self, num_bytes: int) -> None:
        """Add to `num_read`. Raises nothing."""
        self.num_read += num_bytes

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
            self.count_read(len(self._block))
        self._ahead = None
        following = self._offset + len(self._block)
        if forward and following < self.size_bytes:
            self._pool = self._pool or ThreadPoolExecutor(1, "hpcpipe-read-ahead")
            self._ahead = (following, self._pool.submit(self._fetch, following, READ_AHEAD_BYTES))
            self.count_read(min(READ_AHEAD_BYTES, self.size_bytes - following))


class KeepBehind:
    """A source that serves its last `NUM_BLOCKS` blocks from memory, for readers that come back.

    Closes with the source it wraps.

    Attributes:
        path: the source's.
        size_bytes: the source's.
        fd: always None.
    """

    fd: int | None = None

    def __init__(self, source: "Source") -> None:
        """Wrap a source. Raises nothing."""
        self.path = source.path
        self.size_bytes = source.size_bytes
        self._source = source
        self._blocks: dict[int, bytes] = {}

    @property
    def num_read(self) -> int:
        """Bytes the source has read."""
        return self._source.num_read

    def count_read(self, num_bytes: int) -> None:
        """Add to the source's. Raises nothing."""
        self._source.count_read(num_bytes)

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Read a byte range, fewer bytes only at the end.

        Args:
            offset: first byte.
            num_bytes: how many.

        Returns:
            The bytes.

        Raises:
            BadInputError: the object is gone or may not be read.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
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


def read_many(ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Read byte ranges of many objects at once.

    Args:
        ranges: (URL, offset, number of bytes) of each, all of one kind of store.

    Returns:
        Their bytes, in order.

    Raises:
        BadInputError: an object is gone or ends before a range does.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
    """
    # HTTP has no empty range: a store would send the whole object instead.
    asked = [(url, offset, num_bytes) for url, offset, num_bytes in ranges if num_bytes]
    if not asked:
        return [b""] * len(ranges)
    fs, _ = filesystem(asked[0][0])
    names = [fs._strip_protocol(url) for url, _, _ in asked]
    starts = [offset for _, offset, _ in asked]
    ends = [offset + num_bytes for _, offset, num_bytes in asked]
    options = {"batch_size": CONCURRENT_RANGES} if fs.async_impl else {}
    with remote_errors(asked[0][0]):
        parts: list[bytes] = fs.cat_ranges(names, starts, ends, on_error="raise", **options)
    for (url, offset, num_bytes), part in zip(asked, parts, strict=True):
        if len(part) != num_bytes:
            raise BadInputError(f"{display(url)} ends inside the {num_bytes} bytes at {offset}")
    found = iter(parts)
    return [next(found) if num_bytes else b"" for _, _, num_bytes in ranges]
