"""One attempt on one shard: check its inputs, process it, commit it, say what became of it."""

import logging
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from hpcpipe.errors import BadInputError, OutageError, SetupError, ShardError, is_environment_error
from hpcpipe.formats.listing import stat_input
from hpcpipe.manifest.plan import Plan
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.missing import gone_filesystem
from hpcpipe.stage import Input, OutputFile, Shard, ShardStopped, Stage

logger = logging.getLogger(__name__)


class AttemptLostError(Exception):
    """Another worker has taken the next attempt: this one must not publish anything."""


class Outcome(NamedTuple):
    """What became of an attempt.

    Attributes:
        kind: ``done``; ``failed`` is charged to the shard; ``released`` and ``environment`` are
            not; ``lost`` means that another worker has the shard now.
        outputs: finished files.
        stats: counters.
        num_samples: samples in the shard: what the stage last said with ``ctx.progress``; where
            it never did, the sum over its outputs; where these do not say it, what was planned.
            0 for the last step of a run, which has none.
        bytes_in: bytes of input read: what the stage said with ``ctx.count_read``; where it
            never did, the size of the planned inputs.
        error: the exception behind a failure.
        seconds: how long it took.
    """

    kind: Literal["done", "failed", "released", "environment", "lost"]
    outputs: tuple[OutputFile, ...] = ()
    stats: dict[str, int | float] = {}  # noqa: RUF012 - never written to
    num_samples: int = 0
    bytes_in: int = 0
    error: BaseException | None = None
    seconds: float = 0.0


def attempt_shard(
    work: Callable[[], None], ctx: ShardContext, fence: Callable[[], bool]
) -> Outcome:
    """Do one attempt.

    Args:
        work: processes the shard through `ctx`.
        ctx: collects its outputs.
        fence: whether the attempt is still this worker's.

    Returns:
        What became of it.

    Raises:
        KeyboardInterrupt: the user's terminal interrupted it; nothing was published.
        SetupError: the worker cannot go on, whatever the shard.
    """

    def check_fence() -> None:
        if not fence():
            raise AttemptLostError

    started = time.monotonic()
    outcome = Outcome("released")
    try:
        work()
        outputs = ctx.commit(check_fence)
        outcome = Outcome("done", outputs, ctx.stats, ctx.samples_done(outputs), ctx.bytes_in())
    except ShardStopped:
        outcome = Outcome("released")
    except AttemptLostError:
        outcome = Outcome("lost")
    except (KeyboardInterrupt, SetupError):
        raise
    except BaseException as error:
        # SystemExit and CancelledError, too, say that this shard failed, and nothing of others.
        outcome = Outcome(_failure(error, fence), error=error)
    finally:
        _discard(ctx)
    return outcome._replace(seconds=time.monotonic() - started)


def process_shard(stage: Stage, plan: Plan, index: int, ctx: ShardContext, state: Any) -> None:
    """Process one shard after checking that its inputs are the planned ones.

    Args:
        stage: the stage.
        plan: the plan; read again where an input changed, since it may have been extended.
        index: the shard's position in it.
        ctx: its context.
        state: what the stage's setup made.

    Raises:
        BadInputError: an input is missing, changed since planning, or at fault.
        OutageError: the inputs' filesystem or store is gone.
        Exception: whatever the stage raises.
    """
    try:
        try:
            _check_inputs(plan.shard(index))
        except BadInputError:
            if not plan.refresh():
                raise
            _check_inputs(plan.shard(index))
        ctx.planned = plan.shard(index)
        stage.process(ctx.planned, ctx, state)
    except (ShardError, OSError) as error:
        gone = "" if is_environment_error(error) else gone_filesystem(plan, index)
        if gone:
            raise OutageError(gone) from error
        raise


def _check_inputs(shard: Shard) -> None:
    for planned in shard.inputs:
        _check_input(planned)


def _check_input(planned: Input) -> None:
    now = stat_input(planned.path)
    if now.size_bytes != planned.size_bytes or now.version != planned.version:
        raise BadInputError(
            f"{planned.path} changed since the plan was made "
            f"({planned.size_bytes} bytes then, {now.size_bytes} now). "
            "If it is right as it is now: hpcpipe retry RUN, then launch again"
        )


def _failure(
    error: BaseException, fence: Callable[[], bool]
) -> Literal["failed", "environment", "lost"]:
    try:
        # A takeover removes our temporary files, which then looks like a failure of ours.
        if not fence():
            return "lost"
    except (OSError, OutageError):
        return "environment"
    return "environment" if is_environment_error(error) else "failed"


def _discard(ctx: ShardContext) -> None:
    try:
        ctx.discard()
    except OSError as error:
        logger.warning("could not remove what an attempt left: %s", error)
