"""Planning a repack: which samples are kept, in which order, and where one tar ends.

Nothing of the size of the data set is held in memory: the index is mapped, what filters keep is
written to a file as it is found, and a shuffled order is computed where it is needed.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from hpcpipe.errors import ConfigError, PlanError, SetupError
from hpcpipe.formats.ids import Array
from hpcpipe.formats.keep_list import KeepList
from hpcpipe.formats.npy import npy_header
from hpcpipe.formats.permutation import Permutation
from hpcpipe.formats.remote import display
from hpcpipe.formats.sample_index import SampleIndex, check_tars, open_index
from hpcpipe.formats.source import GZIP_SUFFIXES
from hpcpipe.formats.tar_write import RECORD_BYTES
from hpcpipe.stage import PlanContext, Shard, WorkerContext
from hpcpipe.stages._keep import convert_keep, open_keep

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

logger = logging.getLogger(__name__)

ORDER_ARTIFACT = "order.json"
SELECTION_ARTIFACT = "selection.npy"
_CHUNK_NUM = 1 << 19


class Order(msgspec.Struct, frozen=True):
    """The samples to write, in order; written by the plan, read by the workers.

    Attributes:
        index_checksum: of the index the plan was made from.
        num_samples: how many samples are written.
        is_filtered: whether `SELECTION_ARTIFACT` lists them.
        shuffle: whether their order is random.
        seed: of that order.
    """

    index_checksum: str
    num_samples: int
    is_filtered: bool
    shuffle: bool
    seed: int


class OutputOrder:
    """Which sample of the index stands at which position of the output."""

    def __init__(self, order: Order, selection_path: Path) -> None:
        """Open it.

        Args:
            order: the order.
            selection_path: file with the numbers of the samples kept, where some are not.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is damaged.
        """
        self.num_samples = order.num_samples
        self._permutation = Permutation(order.num_samples, order.seed) if order.shuffle else None
        self._selection: Array | None = None
        if order.is_filtered:
            self._selection = np.load(selection_path, mmap_mode="r", allow_pickle=False)

    def numbers(self, first: int, num: int) -> Array:
        """Give the samples at some positions.

        Args:
            first: first position.
            num: how many.

        Returns:
            uint64 (num,): rows of the index.

        Raises:
            Nothing.
        """
        found = np.arange(first, first + num, dtype=np.uint64)
        if self._permutation is not None:
            found = self._permutation(found)
        return found if self._selection is None else self._selection[found].astype(np.uint64)


def plan(stage: "Reshard", ctx: PlanContext) -> Iterator[Shard]:
    """List the new tars.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        Shards named by number; each knows its first sample and how many it has.

    Raises:
        ConfigError: options that the index does not allow.
        PlanError: the index or its tars do not fit, or nothing is kept.
        UpstreamIncompleteError: the index is not complete.
        OSError: reading or writing failed.
    """
    index = open_index(stage.index or "")
    _refuse_unfinished(ctx, index)
    _check(stage, index)
    check_tars(index)
    num_all = index.info.num_samples
    num_kept = _select(stage, ctx, index)
    if not num_kept:
        raise PlanError(
            f"nothing to repack: none of the {num_all} samples passes stage.keep and stage.require"
            if num_all
            else f"nothing to repack: stage.index={index.folder} has no samples"
        )
    order = Order(index.checksum, num_kept, num_kept < num_all, stage.shuffle, stage.seed)
    ctx.artifact(ORDER_ARTIFACT).write_bytes(msgspec.json.encode(order))
    sequence = OutputOrder(order, ctx.artifact(SELECTION_ARTIFACT))
    cuts = list(_cuts(stage, index, sequence))
    width = max(5, len(str(len(cuts) - 1)))
    for number, (first, num, num_bytes) in enumerate(cuts):
        meta = {"first": first, "num": num}
        if number == 0:
            meta["num_filtered"] = num_all - num_kept
        yield Shard(f"{number:0{width}d}", num_samples=num, num_bytes=num_bytes, meta=meta)


def open_planned(stage: "Reshard", ctx: WorkerContext) -> tuple[SampleIndex, OutputOrder]:
    """Open what the plan was made from, and make sure that it is the same.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        The index and the order.

    Raises:
        SetupError: the index changed since, or an artifact cannot be read.
    """
    try:
        order = msgspec.json.decode(ctx.artifact(ORDER_ARTIFACT).read_bytes(), type=Order)
        sequence = OutputOrder(order, ctx.artifact(SELECTION_ARTIFACT))
        index = open_index(stage.index or "")
    except (OSError, ValueError, ConfigError, PlanError) as error:
        raise SetupError(f"the plan of this repack cannot be read: {error}") from error
    if index.checksum != order.index_checksum:
        raise SetupError(
            f"stage.index={index.folder} was made anew since this run was planned; "
            "start a new run with another run_name"
        )
    return index, sequence


def _refuse_unfinished(ctx: PlanContext, index: SampleIndex) -> None:
    """Refuse an index whose run goes on; an older ``index.json`` may lie there all the same."""
    tables = (index.folder / "tars" / f"{tar.id}.parquet" for tar in index.info.tars[:1])
    paths = (index.folder / "index.json", *(path for path in tables if path.exists()))
    ctx.list_inputs([str(path) for path in paths])


def _check(stage: "Reshard", index: SampleIndex) -> None:
    info = index.info
    if info.missing:
        logger.warning(
            "stage.index=%s lacks %d tars that could not be read, %s for one",
            index.folder,
            len(info.missing),
            display(info.missing[0]),
        )
    if info.num_duplicate_keys and stage.keys == "keep" and stage.duplicates == "error":
        raise ConfigError(
            f"{info.num_duplicate_keys} samples have a key that another has, and may meet in one "
            "tar: choose stage.keys=prefix (name of the old tar in front), stage.keys=renumber, "
            "or stage.duplicates=rename or first (where two meet in one tar)"
        )
    packed = next((t for t in info.tars if t.input.path.endswith(GZIP_SUFFIXES)), None)
    if stage.shuffle and packed is not None:
        raise ConfigError(
            f"stage.shuffle reads tars at random, which {display(packed.input.path)} is too "
            "compressed for: make plain tars first (stage=reshard without stage.index), index "
            "those, and shuffle them"
        )


def _select(stage: "Reshard", ctx: PlanContext, index: SampleIndex) -> int:
    """Write the numbers of the samples kept, where there is a filter; returns how many."""
    num_all = index.info.num_samples
    if stage.keep is None and not stage.required:
        return num_all
    listed = _open_keep(stage, ctx, index)
    by_uid = listed is not None and listed.field == "uid"
    fits = np.array(
        [
            stage.required <= {*one.extensions} and not (by_uid and one.lacks_uid)
            for one in index.info.contents
        ],
        bool,
    )
    dtype = np.dtype("<u4" if num_all <= 1 << 32 else "<u8")
    num_kept = 0
    with open(ctx.artifact(SELECTION_ARTIFACT), "wb") as file:
        file.write(npy_header(dtype, 0))
        for at in range(0, num_all, _CHUNK_NUM):
            part = slice(at, min(at + _CHUNK_NUM, num_all))
            kept = fits[index.samples["contents"][part]]
            if listed is not None:
                kept &= _listed(listed, index, part)
            numbers = np.flatnonzero(kept) + at
            file.write(numbers.astype(dtype).tobytes())
            num_kept += len(numbers)
        file.seek(0)
        file.write(npy_header(dtype, num_kept))
    logger.info("%d of %d samples pass stage.keep and stage.require", num_kept, num_all)
    return num_kept


def _open_keep(stage: "Reshard", ctx: PlanContext, index: SampleIndex) -> KeepList | None:
    convert_keep(stage, ctx)
    keep = open_keep(stage, ctx)
    if keep is not None and keep.field == "uid" and index.uids is None:
        raise ConfigError(
            f"stage.keep lists uids, which stage.index={index.folder} does not have: make the "
            "index with stage.uid=true"
        )
    return keep


def _listed(keep: KeepList, index: SampleIndex, part: slice) -> Array:
    if keep.field == "key" or index.uids is None:
        return keep.contains_ids(index.keys[part])
    return keep.contains_ids(index.uids[part])


def _cuts(
    stage: "Reshard", index: SampleIndex, sequence: OutputOrder
) -> Iterator[tuple[int, int, int | None]]:
    """Where tars begin: (first position, number of samples, bytes where known)."""
    total = sequence.num_samples
    if stage.shard_samples is not None:
        for first in range(0, total, stage.shard_samples):
            yield first, min(stage.shard_samples, total - first), None
        return
    limit_bytes = max(1, (stage.shard_bytes or 0) - RECORD_BYTES)  # the end of the archive
    first, held_bytes = 0, 0
    for at in range(0, total, _CHUNK_NUM):
        lengths = index.samples["length"][sequence.numbers(at, min(_CHUNK_NUM, total - at))]
        ends = np.cumsum(lengths, dtype=np.int64)
        passed_bytes = 0
        while True:
            fit = int(np.searchsorted(ends, passed_bytes + limit_bytes - held_bytes, "right"))
            if fit == len(ends):
                break
            if at + fit == first:  # larger than the limit by itself
                fit += 1
            now_bytes = int(ends[fit - 1]) if fit else 0
            yield first, at + fit - first, held_bytes + now_bytes - passed_bytes
            first, held_bytes, passed_bytes = at + fit, 0, now_bytes
        held_bytes += int(ends[-1]) - passed_bytes
    if first < total:
        yield first, total - first, held_bytes
