"""Planning an overlay: one shard for each input tar, with its edits and the keep list found."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpcpipe.formats.listing import ids_from_paths
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import TAR_SUFFIXES
from hpcpipe.stage import PlanContext, Shard
from hpcpipe.stages._keep import convert_keep
from hpcpipe.stages._overlay_find import FoundEdits, find_edits

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

_NUM_SHOWN = 3


def plan(stage: "Reshard", ctx: PlanContext) -> Iterator[Shard]:
    """List one shard for each input tar.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        Shards named by the tars' paths below their common folder; each has the tar as its first
        input, and its edits, where there are any, behind it.

    Raises:
        PlanError: no input, equal ids, no edits for any shard, or a bad keep list.
        UpstreamIncompleteError: a run that makes tars or edits is not complete.
    """
    inputs = ctx.list_inputs(stage.input or [], TAR_SUFFIXES)
    ids = ids_from_paths(inputs, stage.input or [], TAR_SUFFIXES)
    edits = FoundEdits({}, [])
    if stage.edits is not None:
        edits = find_edits(stage.edits, ids, ctx)
        _report(stage.edits, edits, len(ids), ctx)
    convert_keep(stage, ctx)
    for shard_id, item in zip(ids, inputs, strict=True):
        yield Shard(
            id=shard_id,
            inputs=(item, *edits.by_shard.get(shard_id, ())),
            num_bytes=item.size_bytes,
        )


def _report(location: str, edits: FoundEdits, num_shards: int, ctx: PlanContext) -> None:
    """Tell people how many shards have edits, and what belongs to none; list the latter."""
    ctx.remark(f"edits for {len(edits.by_shard):,} of the {num_shards:,} shards")
    if not edits.strays:
        return
    name, number = "edits_of_no_shard.txt", 1
    while ctx.planned_artifact(name) is not None:  # those of earlier plans stay
        number += 1
        name = f"edits_of_no_shard_{number}.txt"
    lines = "".join(f"{display(path)}\n" for path in edits.strays)
    ctx.artifact(name).write_bytes(lines.encode("utf-8", "surrogateescape"))
    one = len(edits.strays) == 1
    what = "1 entry belongs" if one else f"{len(edits.strays):,} entries belong"
    more = ", ..." if len(edits.strays) > _NUM_SHOWN else ""
    ctx.remark(
        f"warning: {what} to no shard in {display(location)}: "
        f"{', '.join(edits.strays[:_NUM_SHOWN])}{more}; see artifacts/{name} in the run directory"
    )
