"""Captions that failed, asked again in the shards they are of: ``retry_failed=true``.

Such a shard is done again from its own list, of which all other rows are kept as they are.
"""

import logging
from collections.abc import Iterator

import msgspec

from hpcpipe.clients.llm_failure import may_pass
from hpcpipe.errors import PlanError, ShardError
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import open_source
from hpcpipe.stage import Input, OutputFile, RetryContext, Shard, ShardContext
from hpcpipe.stages._rewrite_rows import FAILED, META_SUFFIX, Row, decode_rows

logger = logging.getLogger(__name__)

LIST = "list"
"""Key of a shard's meta: its list, as it was recorded when it was done before."""


def plan_retries(ctx: RetryContext) -> Iterator[Shard]:
    """Plan shards again that have captions that failed and may pass.

    Args:
        ctx: the framework's help.

    Yields:
        Those shards, with what they made.

    Raises:
        PlanError: their captions are gone or not what they were.
        OutageError: a remote store is down.
        OSError: reading failed.
    """
    lists = {
        result.shard_id: next(one for one in result.outputs if one.path.endswith(META_SUFFIX))
        for result in ctx.results()
        if any(map(_is_of_failures, result.stats))
    }
    for shard in ctx.planned():
        if shard.id in lists:
            for item in shard.inputs:
                _check_unchanged(item)
            meta = {LIST: msgspec.to_builtins(lists[shard.id])}
            yield msgspec.structs.replace(shard, meta=meta)


def _is_of_failures(counter: str) -> bool:
    status, _, reason = counter.partition(".")
    return status == FAILED and may_pass(reason)


def is_to_be_asked_again(row: Row) -> bool:
    """Tell whether a caption failed and may pass. Raises nothing."""
    return row.status == FAILED and may_pass(row.reason or "")


def _check_unchanged(item: Input) -> None:
    try:
        is_unchanged = stat_input(item.path) == item
    except ShardError as error:
        raise PlanError(f"{error}. It has the captions that are to be asked again") from error
    if not is_unchanged:
        raise PlanError(
            f"{display(item.path)} changed since its shard was planned. To rewrite all of it as it "
            "is now: extend=true instead of retry_failed=true"
        )


def as_planned(shard: Shard, planned: dict[str, Shard]) -> Shard:
    """Give a shard as the run has it, where its captions are still the same.

    Args:
        shard: as it is planned from its captions.
        planned: the shards that the run has, by id.

    Returns:
        The run's shard, which may go on from what it made; else the given one.

    Raises:
        Nothing.
    """
    before = planned.get(shard.id, shard)
    return before if before.inputs == shard.inputs else shard


def rows_before(shard: Shard, ctx: ShardContext) -> dict[str, Row]:
    """Read the list of a shard from when it was done before.

    Args:
        shard: as it was planned.
        ctx: the framework's help.

    Returns:
        Rows by key; none where there is no such list, or not as it was.

    Raises:
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    if LIST not in shard.meta:
        return {}
    output = msgspec.convert(shard.meta[LIST], OutputFile)
    path = ctx.previous_output(output)
    if path is None:
        logger.warning("%s is not as it was: only what was saved since is kept", output.path)
        return {}
    with open_source(path, None) as source:
        content = source.read_at(0, source.size_bytes)
        ctx.count_read(source.num_read)
    return {row.key: row for row in decode_rows(content)}
