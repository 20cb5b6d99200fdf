"""Which shards a download has: ranges of its lists, numbered for good.

A range keeps its number whatever is added to the lists; new ones come after the highest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpcpipe.formats.url_list import LIST_SUFFIXES, UrlRange, plan_ranges
from hpcpipe.stage import PlanContext, Shard

if TYPE_CHECKING:
    from hpcpipe.stages.download import Download

COVERS = "covers"
"""In `Shard.meta` of a shard of failures: the shards that had them (``_download_retry``)."""
FAILED = "failed"
"""The same: how many of its rows had failed, by class."""


def plan_lists(stage: Download, ctx: PlanContext) -> Iterator[Shard]:
    """Cut the lists into ranges of rows.

    Args:
        stage: the options.
        ctx: the framework's help.

    Yields:
        One shard a range; its number is the one it had before, where it was planned before.

    Raises:
        PlanError: a list cannot be read, is malformed or lacks a column.
    """
    numbers, free = _planned_numbers(ctx)
    parts = plan_ranges(
        ctx.list_inputs(stage.input, LIST_SUFFIXES),
        stage.columns,
        stage.shard_samples,
        ctx.artifact,
        ctx.planned_artifact,
    )
    for part in parts:
        number = numbers.get(part.file.path, {}).get(part.first_row)
        yield _shard(stage, next(free) if number is None else number, part)


def _shard(stage: Download, number: int, part: UrlRange) -> Shard:
    """A shard without bytes: those of its list are not what it reads."""
    meta = {"number": number, **part.meta}
    return Shard(stage.names.shard(number), part.inputs, part.num_rows, None, meta)


def _planned_numbers(ctx: PlanContext) -> tuple[dict[str, dict[int, int]], Iterator[int]]:
    """Numbers of the ranges that were planned before, by list and first row, and free ones."""
    numbers: dict[str, dict[int, int]] = {}
    first_free = 0
    for shard in ctx.planned():
        number = int(shard.meta["number"])
        first_free = max(first_free, number + 1)
        if COVERS not in shard.meta:
            path = shard.inputs[0].path if shard.inputs else shard.meta["list"]
            numbers.setdefault(path, {})[shard.meta["first_row"]] = number
    return numbers, itertools.count(first_free)
