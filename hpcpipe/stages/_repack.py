"""Repacking: one new tar out of samples that lie anywhere, read by their byte ranges.

Samples that keep their key are copied byte for byte, headers and all; others get new headers, with
owner 0 and the old time and mode.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcpipe.errors import BadInputError
from hpcpipe.formats.ids import Array
from hpcpipe.formats.sample_index import SampleIndex
from hpcpipe.formats.samples import split_key
from hpcpipe.formats.tar import Member, scan
from hpcpipe.formats.tar_write import end_of_archive, make_header, padding
from hpcpipe.stage import Output, Shard, ShardContext, ShardStopped, WorkerContext
from hpcpipe.stages._repack_keys import FreeKeys, prefixes, repeats, with_prefix
from hpcpipe.stages._repack_piece import FilePiece, Piece, WindowPiece
from hpcpipe.stages._repack_plan import OutputOrder, open_planned, plan
from hpcpipe.stages._repack_read import TarPool

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

__all__ = ["plan", "process", "setup"]

_NUMBER_WIDTH = 9


@dataclass(frozen=True)
class State:
    """What the shards of a worker share.

    Attributes:
        index: where the samples lie.
        sequence: which sample comes when.
        tars: the tars, opened when needed.
        prefixes: for each tar what is put in front of its keys; "" where nothing is.
    """

    index: SampleIndex
    sequence: OutputOrder
    tars: TarPool
    prefixes: list[str]


def setup(stage: "Reshard", ctx: WorkerContext) -> State:
    """Map the index and the plan.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        State for `process`.

    Raises:
        SetupError: the index changed since the plan, or cannot be read.
    """
    index, sequence = open_planned(stage, ctx)
    tars = index.info.tars
    before = prefixes([tar.id for tar in tars]) if stage.keys == "prefix" else [""] * len(tars)
    return State(index, sequence, TarPool(tars, ctx.scratch), before)


def process(stage: "Reshard", shard: Shard, ctx: ShardContext, state: State) -> None:
    """Make one tar.

    Args:
        stage: the options.
        shard: its ``meta`` has the position of its first sample and their number.
        ctx: the framework's help.
        state: what `setup` gave.

    Raises:
        BadInputError: a tar is gone, changed or damaged, or two keys are equal.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    first, num, num_filtered = (shard.meta.get(n, 0) for n in ("first", "num", "num_filtered"))
    numbers = state.sequence.numbers(first, num)
    rows = state.index.samples[numbers]
    repeated = np.zeros(num, np.int64)
    free = None
    if stage.keys != "renumber":
        ids = state.index.keys[numbers]
        groups = rows["tar"] if stage.keys == "prefix" else None
        repeated = repeats(ids, groups)
        if stage.duplicates == "first":
            rows, repeated = rows[repeated == 0], repeated[repeated == 0]
        elif repeated.any():
            free = FreeKeys(ids, groups)
    num_read_before = state.tars.num_read
    output = ctx.output(f"{shard.id}.tar")
    writer = _Writer(stage, state, output, first, free)
    writer.check_repeats(rows, repeated)
    for start, end, window in state.tars.windows(rows):
        writer.write(rows[start:end], repeated[start:end], window)
        ctx.progress(end)
        if ctx.should_stop:
            raise ShardStopped
    output.write(end_of_archive(output.tell()))
    output.num_samples = len(rows)
    ctx.count_read(state.tars.num_read - num_read_before)
    ctx.count("samples_in", num + num_filtered)
    ctx.count("samples_out", len(rows))
    ctx.count("samples_dropped", num - len(rows) + num_filtered)


class _Writer:
    """Writes samples to one new tar."""

    def __init__(
        self, stage: "Reshard", state: State, output: Output, first: int, free: FreeKeys | None
    ) -> None:
        self._stage = stage
        self._state = state
        self._output = output
        self._next = first
        self._free = free
        width = max(_NUMBER_WIDTH, len(str(state.sequence.num_samples - 1)))
        self._number_format = f"0{width}d"
        self._is_plain = np.array([one.is_plain for one in state.index.info.contents], bool)

    def check_repeats(self, rows: Array, repeated: Array) -> None:
        """Refuse equal keys where the policy says so; names the first."""
        if self._stage.duplicates == "error" and repeated.any():
            row = rows[np.flatnonzero(repeated)[0]]
            tar = int(row["tar"])
            piece = FilePiece(self._state.tars.source(tar), int(row["offset"]), int(row["length"]))
            key = next((split[0] for m in scan(piece) if (split := split_key(m.name))), "?")
            raise BadInputError(
                f"the key {key!r} is twice in one new tar, the second time from "
                f"{self._state.tars.path(tar)}; stage.duplicates=first keeps one, "
                "stage.duplicates=rename or stage.keys=renumber keep both"
            )

    def write(self, rows: Array, repeated: Array, window: memoryview | None) -> None:
        """Append one window of samples."""
        lengths, tars, nths = rows["length"].tolist(), rows["tar"].tolist(), repeated.tolist()
        if window is None:
            source = self._state.tars.source(tars[0])
            self._sample(FilePiece(source, int(rows["offset"][0]), lengths[0]), tars[0], nths[0])
            return
        copied = (repeated == 0) & self._is_plain[rows["contents"]] & (self._stage.keys == "keep")
        start = end = 0
        for length, tar, nth, is_copied in zip(lengths, tars, nths, copied.tolist(), strict=True):
            if is_copied:
                self._next += 1
            else:
                self._output.write(window[start:end])
                start = end + length
                self._sample(WindowPiece(window[end:start], self._state.tars.path(tar)), tar, nth)
            end += length
        self._output.write(window[start:end])

    def _sample(self, piece: Piece, tar: int, nth: int) -> None:
        """Append one sample member by member, under its new key; leaves out what is not its."""
        new_key: str | None = None
        for member in scan(piece):
            split = split_key(member.name) if member.is_file else None
            if split is None:
                continue
            if new_key is None:
                new_key = self._new_key(split[0], tar, nth)
            if new_key == split[0]:
                piece.copy(self._output, member.start, member.end)
            else:
                self._renamed(piece, member, new_key + member.name[len(split[0]) :])
        self._next += 1

    def _new_key(self, key: str, tar: int, nth: int) -> str:
        if self._stage.keys == "renumber":
            return format(self._next, self._number_format)
        if nth and self._free is not None:
            key = self._free.next_free(key, tar, nth)
        return with_prefix(key, self._state.prefixes[tar])

    def _renamed(self, piece: Piece, member: Member, name: str) -> None:
        self._output.write(make_header(member, name, member.size))
        piece.copy(self._output, member.data, member.data + member.size)
        self._output.write(padding(member.size))
