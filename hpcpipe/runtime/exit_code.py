"""The code that commands about a run exit with: all done, quarantined, or still to be done."""

from collections.abc import Mapping

from hpcpipe.config import Config, RunOptions
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.state import RunState, ShardStatus


def exit_code(state: RunState, config: Config, limit: int | None, *, has_finalize: bool) -> int:
    """Code a command about a run exits with.

    Args:
        state: the run's state.
        config: its config.
        limit: look only at so many shards from the plan's start.
        has_finalize: whether a last step follows the shards.

    Returns:
        0 all done, 3 shards are quarantined, 4 something is still to be done.

    Raises:
        Nothing.
    """
    is_whole = limit is None or limit >= len(state.plan)
    number = state.counts(limit)
    return code_of(state, number, config.run, has_finalize=has_finalize and is_whole)


def state_code(state: RunState, options: RunOptions, *, has_finalize: bool) -> int:
    """Code a command about a run exits with, as `exit_code`, of the whole run.

    Args:
        state: the run's state.
        options: how its shards are run.
        has_finalize: whether a last step follows the shards.

    Returns:
        0 all done, 3 shards are quarantined, 4 something is still to be done.

    Raises:
        Nothing.
    """
    return code_of(state, state.counts(), options, has_finalize=has_finalize)


def code_of(
    state: RunState,
    number: Mapping[ShardStatus, int],
    options: RunOptions,
    *,
    has_finalize: bool,
) -> int:
    """Code a command about a run exits with, where its shards are counted already.

    Args:
        state: the run's state.
        number: number of shards by state.
        options: how its shards are run.
        has_finalize: whether a last step follows the shards.

    Returns:
        0 all done, 3 shards are quarantined, 4 something is still to be done.

    Raises:
        Nothing.
    """
    if number["pending"]:
        return 4
    if number["quarantined"] > options.max_failed_fraction * sum(number.values()):
        return 3
    if has_finalize and not state.is_done(FINALIZE):
        return 3 if state.status(FINALIZE) == "quarantined" else 4
    return 0
