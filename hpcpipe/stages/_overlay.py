"""Overlaying one tar: its samples in order, with edits put in and samples left out.

Members without an edit are copied with their headers as they are, neighbouring ones in one go.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from hpcpipe.errors import SetupError
from hpcpipe.formats.edit_origins import Edit
from hpcpipe.formats.keep_list import KeepList
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import Sample, group, read_json
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import Member, scan
from hpcpipe.stage import Shard, ShardContext, ShardStopped, WorkerContext
from hpcpipe.stages._file_shards import open_tar
from hpcpipe.stages._keep import open_keep
from hpcpipe.stages._overlay_edits import new_extension, parse_json, place_edits
from hpcpipe.stages._overlay_given import ShardEdits, open_edits
from hpcpipe.stages._overlay_write import TarCopy

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

logger = logging.getLogger(__name__)

BATCH_SAMPLES = 512
BATCH_BYTES = 16 << 20

_NUM_SHOWN = 5
_ESCAPED = "backslashreplace"  # a list is text, whatever bytes a name has


def setup(stage: "Reshard", ctx: WorkerContext) -> KeepList | None:
    """Map the keep list.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        The list, None where everything is kept.

    Raises:
        SetupError: the converted list is missing or damaged.
    """
    try:
        return open_keep(stage, ctx)
    except (OSError, ValueError) as error:
        raise SetupError(f"the run's keep list cannot be read: {error}") from error


def process(stage: "Reshard", shard: Shard, ctx: ShardContext, keep: KeepList | None) -> None:
    """Make one tar.

    Args:
        stage: the options.
        shard: its first input is the tar; edits, if any, come behind.
        ctx: the framework's help.
        keep: what `setup` gave.

    Raises:
        BadInputError: the tar or an edit is damaged.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_tar(shard, ctx))
        counts = Counter(dict.fromkeys(("samples_in", "samples_out", "samples_dropped"), 0))
        edits = open_edits(stage, shard, ctx, source, counts)
        if edits is not None:
            stack.callback(edits.close)
        output = ctx.output(f"{shard.id}.tar")
        overlay = _Overlay(stage, source, edits, keep, TarCopy(source, output), counts)
        for num_samples in overlay.run():
            ctx.progress(num_samples)
            if ctx.should_stop:
                raise ShardStopped
        overlay.finish()
        output.num_samples = counts["samples_out"]
        unmatched = overlay.unmatched()
        if edits is not None:
            counts["edits_unmatched"] = len(unmatched)
        if unmatched:
            listing = ctx.output(f"edits_unmatched/{shard.id}.txt")
            listing.write("".join(f"{name}\n" for name in unmatched).encode(errors=_ESCAPED))
        ctx.count_read(source.num_read + (edits.num_read if edits is not None else 0))
    for name, number in counts.items():
        ctx.count(name, number)


class _Overlay:
    """The work on one tar."""

    def __init__(
        self,
        stage: "Reshard",
        source: Source,
        edits: ShardEdits | None,
        keep: KeepList | None,
        copy: TarCopy,
        counts: Counter[str],
    ) -> None:
        self._stage = stage
        self._required = stage.required
        self._source = source
        self._edits = edits
        self._keep = keep
        self._copy = copy
        self._last_key = ""
        self._counts = counts

    def run(self) -> Iterator[int]:
        """Do the tar batch by batch; yields the number of samples so far."""
        members = scan(self._source, prefetch=True)
        samples = group(members, self._source.path, self._stage.duplicates)
        for batch in _batches(samples):
            self._do_batch(batch)
            yield self._counts["samples_in"]

    def finish(self) -> None:
        """End the tar and check the counts."""
        self._copy.finish()
        counts = self._counts
        if counts["samples_in"] != counts["samples_out"] + counts["samples_dropped"]:
            raise AssertionError(f"{self._source.path}: samples were lost: {dict(counts)}")
        if counts["samples_in"] and not counts["samples_out"]:
            counts["shards_emptied"] += 1
            logger.warning(
                "%s: none of its %d samples is kept (%r is the last of them)",
                display(self._source.path),
                counts["samples_in"],
                self._last_key,
            )

    def unmatched(self) -> list[str]:
        """Name the edits that match no sample of the tar."""
        found = self._edits.unmatched() if self._edits is not None else []
        if self._edits is not None and found:
            logger.warning(
                "%s: %d edits match no sample of %s (%s)",
                display(self._edits.path),
                len(found),
                display(self._source.path),
                ", ".join(found[:_NUM_SHOWN]),
            )
        return found

    def _do_batch(self, batch: list[Sample]) -> None:
        is_kept = self._select(batch)
        found: list[dict[str, Edit] | None] = [None] * len(batch)
        if self._edits is not None:
            found = self._edits.find([sample.key or "" for sample in batch])
        for sample, kept, edits in zip(batch, is_kept, found, strict=True):
            if sample.key is None:
                self._copy.members(sample.members)
                continue
            self._counts["samples_in"] += 1
            self._last_key = sample.key
            if not kept or not self._emit(sample, edits):
                self._counts["samples_dropped"] += 1
                for member, extension in zip(sample.members, sample.extensions, strict=True):
                    if extension is None:
                        self._copy.members((member,))

    def _select(self, batch: list[Sample]) -> list[bool]:
        """Whether the keep list and the policy on duplicates keep each sample."""
        kept = [not sample.repeats for sample in batch]
        if self._keep is None:
            return kept
        if self._keep.field == "key":
            names = [sample.renamed_from or sample.key or "" for sample in batch]
        else:
            names = [self._uid(sample) for sample in batch]
        listed = self._keep.contains(names).tolist()
        return [a and b and name != "" for a, b, name in zip(kept, listed, names, strict=True)]

    def _uid(self, sample: Sample) -> str:
        """The uid in a sample's json, "" where there is none."""
        record = None
        if "json" in sample.extensions:
            member = sample.members[sample.extensions.index("json")]
            record = parse_json(read_json(self._source, member))
        uid = record.get("uid") if isinstance(record, dict) else None
        if uid is None:
            self._counts["samples_without_uid"] += 1
        return "" if uid is None else str(uid)

    def _emit(self, sample: Sample, edits: dict[str, Edit] | None) -> bool:
        """Write a sample; False where it has not all required extensions."""
        replaced: dict[int, Edit] = {}
        added: list[Edit] = []
        if edits is not None and self._edits is not None:
            edits = self._edits.real(sample, edits)
            replaced, added = place_edits(sample, edits, self._source.path)
        if self._required:
            extensions = {edit.extension.lower() for edit in added}
            for index, extension in enumerate(sample.extensions):
                if extension is not None:
                    extensions.add(new_extension(extension, replaced.get(index)).lower())
            if not extensions >= self._required:
                return False
        self._counts["samples_out"] += 1
        if not replaced and not added and sample.renamed_from is None:
            self._copy.members(sample.members)
            return True
        self._rewrite(sample, replaced)
        if added or replaced:
            self._counts["samples_edited"] += 1
            self._counts["members_edited"] += len(replaced)
            self._counts["members_added"] += len(added)
        for edit in added:
            self._put(_last_file(sample), f"{sample.key}.{edit.extension}", edit)
        return True

    def _rewrite(self, sample: Sample, replaced: dict[int, Edit]) -> None:
        for index, (member, extension) in enumerate(
            zip(sample.members, sample.extensions, strict=True)
        ):
            edit = replaced.get(index)
            if edit is not None:
                new = new_extension(extension or "", edit)
                same = new == extension
                name = sample.name_of(member) if same else f"{sample.key}.{new}"
                self._put(member, name, edit)
            elif extension is None or sample.renamed_from is None:
                self._copy.members((member,))
            else:
                self._copy.renamed(member, sample.name_of(member))

    def _put(self, model: Member, name: str, edit: Edit) -> None:
        if self._edits is not None:
            self._edits.put(self._copy, model, name, edit)


def _batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        span_bytes = sample.members[-1].end - batch[0].members[0].start
        if len(batch) == BATCH_SAMPLES or span_bytes > BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _last_file(sample: Sample) -> Member:
    return next(
        member
        for member, extension in zip(
            reversed(sample.members), reversed(sample.extensions), strict=True
        )
        if extension is not None
    )
