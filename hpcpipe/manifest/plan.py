"""The plan: the frozen list of shards of a run, one JSON line each.

``plan.jsonl`` is written once; extending a run adds ``plan-0002.jsonl`` and so on. A line whose
id stands in an earlier file replaces that shard (its inputs changed); all others are new.
A *block* is what is claimed: one shard, or a fixed number of consecutive shards of one plan file
in runs of more than `MAX_BLOCKS` shards, so that the number of claim files stays bounded.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, count
from pathlib import Path

import msgspec

from hpcpipe.errors import PlanError
from hpcpipe.manifest.files import JSON_ERRORS
from hpcpipe.manifest.plan_file import PlanFile
from hpcpipe.stage import Shard

MAX_BLOCKS = 100_000

_PLAIN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class _Head(msgspec.Struct, frozen=True, gc=False):
    """The part of a plan line that is kept in memory."""

    id: str
    num_bytes: int | None = None


def check_id(shard_id: str) -> None:
    """Refuse a shard id that could not safely become part of a file name.

    Args:
        shard_id: the id a stage gave.

    Raises:
        PlanError: it is empty, absolute, too long, or has ``.``/``..`` or control characters.
    """
    if _PLAIN_ID.fullmatch(shard_id):
        return
    parts = shard_id.split("/")
    if any(part in ("", ".", "..") or part.startswith("@") for part in parts):
        raise PlanError(f"shard id {shard_id!r}: every component must be a plain file name")
    if not shard_id.isprintable() or "\\" in shard_id:
        raise PlanError(f"shard id {shard_id!r} has control characters or a backslash")
    if max(len(os.fsencode(part)) for part in parts) > 200:
        raise PlanError(f"shard id {shard_id!r}: a component is longer than 200 bytes")


def write_plan(path: Path, shards: Iterable[Shard]) -> int:
    """Write one plan file, durably, streaming.

    Args:
        path: a new file.
        shards: the shards in their order.

    Returns:
        Number of shards written.

    Raises:
        PlanError: two shards have one id, an id is unusable, a shard is not a `Shard` or holds
            what JSON cannot say.
        OSError: the file cannot be written.
    """
    seen: set[str] = set()
    encode = msgspec.json.Encoder().encode
    with path.open("xb", buffering=1 << 20) as out:
        for shard in shards:
            if not isinstance(shard, Shard):
                raise PlanError(f"the stage's plan() gave {shard!r}; it must give Shard objects")
            check_id(shard.id)
            if shard.id in seen:
                raise PlanError(
                    f"two shards of the plan have the id {shard.id!r}; "
                    "ids come from input paths, so look for equal names among the inputs"
                )
            seen.add(shard.id)
            try:
                out.write(encode(shard))
            except (TypeError, ValueError) as error:
                raise PlanError(
                    f"shard {shard.id!r} cannot be written down: {error}. "
                    "Shard.meta takes JSON types only, and paths must be UTF-8"
                ) from error
            out.write(b"\n")
        out.flush()
        os.fsync(out.fileno())
    return len(seen)


def plan_files(run_dir: Path) -> list[Path]:
    """List the plan files of a run, oldest first. Raises OSError."""
    return [run_dir / "plan.jsonl", *sorted(run_dir.glob("plan-[0-9][0-9][0-9][0-9].jsonl"))]


class Plan:
    """The shards of a run by index; whole records are decoded when asked for.

    Attributes:
        ids: shard ids by index.
        sizes: bytes to read per shard, 0 where unknown.
        index: gives the position of a shard id; None where the plan has no such shard.
        num_blocks: number of blocks.
    """

    def __init__(self, run_dir: Path, block_size: int) -> None:
        """Read the plan files.

        Args:
            run_dir: the run directory.
            block_size: shards a block, from ``run.json``.

        Raises:
            PlanError: a plan file is damaged.
            OSError: a plan file cannot be read.
        """
        self._run_dir = run_dir
        self.ids: list[str] = []
        self.sizes = array("q")
        self.num_blocks = 0
        self._block_size = block_size
        self._index: dict[str, int] = {}
        self.index: Callable[[str], int | None] = self._index.get
        self._open: list[PlanFile] = []
        self._where = array("q")
        self._files = array("H")
        self._blocks: list[tuple[int, int, int]] = []  # first block, first index, end index
        self.refresh()

    def refresh(self) -> bool:
        """Take in plan files that were added since.

        Returns:
            Whether there were any.

        Raises:
            PlanError: a plan file is damaged.
            OSError: a plan file cannot be read.
        """
        num_known = len(self._open)
        for path in plan_files(self._run_dir)[num_known:]:
            self._read(path)
        return len(self._open) > num_known

    def _read(self, path: Path) -> None:
        first = len(self.ids)
        file = PlanFile(path)
        # Whole where a plan that is in use grows: it must not take in half of a file.
        chunks = list(file.chunks()) if self._open else file.chunks()
        self._open.append(file)
        for offset, chunk in chunks:
            lines = chunk.splitlines(keepends=True)
            self._add(_heads(path, offset, chunk, lines), offset, lines)
        if len(self._index) != len(self.ids):
            raise PlanError(f"{path}: damaged, an id stands in it twice")
        if len(self.ids) > first:
            self._blocks.append((self.num_blocks, first, len(self.ids)))
            self.num_blocks += -(-(len(self.ids) - first) // self._block_size)

    def _add(self, heads: list[_Head], offset: int, lines: list[bytes]) -> None:
        """Take in consecutive lines; the first begins at `offset`."""
        file = len(self._open) - 1
        *offsets, _ = accumulate(map(len, lines), initial=offset)
        ids = [head.id for head in heads]
        if file and not self._index.keys().isdisjoint(ids):
            new = [n for n, head in enumerate(heads) if not self._replace(head, offsets[n])]
            heads, offsets = [heads[n] for n in new], [offsets[n] for n in new]
            ids = [head.id for head in heads]
        self._index.update(zip(ids, count(len(self.ids))))
        self.ids += ids
        self.sizes.fromlist([head.num_bytes or 0 for head in heads])
        self._where.fromlist(offsets)
        self._files.extend(array("H", [file]) * len(ids))

    def _replace(self, head: _Head, offset: int) -> bool:
        """Take a shard's line in a later plan file for the one before; False for a new shard."""
        index = self._index.get(head.id)
        if index is None:
            return False
        self.sizes[index] = head.num_bytes or 0
        self._where[index] = offset
        self._files[index] = len(self._open) - 1
        return True

    @property
    def num_files(self) -> int:
        """Number of plan files that were read."""
        return len(self._open)

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.ids)

    def shard(self, index: int) -> Shard:
        """Decode one shard.

        Args:
            index: its position in the plan.

        Returns:
            The shard.

        Raises:
            IndexError: there is no such position.
            OSError: the plan file cannot be read.
        """
        line = self._open[self._files[index]].line(self._where[index])
        return msgspec.json.decode(line, type=Shard)

    def shards(self) -> Iterator[Shard]:
        """Decode all shards in order. Raises OSError."""
        return (self.shard(index) for index in range(len(self)))

    def indexes(self, shard_ids: Iterable[str]) -> list[int | None]:
        """Positions of shard ids; None where the plan has no such shard. Raises nothing."""
        return list(map(self.index, shard_ids))

    def block_of(self, index: int) -> int:
        """Block that a shard belongs to.

        Args:
            index: the shard's position.

        Returns:
            The block's number.

        Raises:
            IndexError: there is no such position.
        """
        first_block, first, _ = self._segment(index)
        return first_block + (index - first) // self._block_size

    def block_sizes(self, indexes: Iterable[int]) -> dict[int, int]:
        """Sum the bytes to read of some shards by block.

        Args:
            indexes: positions in ascending order.

        Returns:
            Bytes by block number; blocks without any of the shards are not in it.

        Raises:
            IndexError: there is no such position.
        """
        size, sizes = self._block_size, self.sizes
        sums: dict[int, int] = {}
        first_block = first = end = 0
        for index in indexes:
            if index >= end:
                first_block, first, end = self._segment(index)
            block = first_block + (index - first) // size
            sums[block] = sums.get(block, 0) + sizes[index]
        return sums

    def _segment(self, index: int) -> tuple[int, int, int]:
        for segment in self._blocks:
            if segment[1] <= index < segment[2]:
                return segment
        raise IndexError(index)

    def block(self, block: int) -> range:
        """Positions of a block's shards.

        Args:
            block: its number.

        Returns:
            The range of positions.

        Raises:
            IndexError: there is no such block.
        """
        for first_block, first, end in reversed(self._blocks):
            if block >= first_block:
                start = first + (block - first_block) * self._block_size
                return range(start, min(start + self._block_size, end))
        raise IndexError(block)


def _heads(path: Path, offset: int, chunk: bytes, lines: list[bytes]) -> list[_Head]:
    decoder = msgspec.json.Decoder(_Head)
    try:
        heads = decoder.decode_lines(chunk)
    except JSON_ERRORS:
        heads = []
    if len(heads) == len(lines):
        return heads
    for line in lines:
        try:
            decoder.decode(line)
        except JSON_ERRORS as error:
            raise PlanError(f"{path}: damaged at byte {offset}: {error}") from None
        offset += len(line)
    raise PlanError(f"{path}: damaged, a line of it is not one shard")
