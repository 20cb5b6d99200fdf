"""How a worker ends, and whether it asks to be run again."""

import logging
import signal
from collections.abc import Callable
from typing import NamedTuple

from hpcpipe.errors import ShardError, TimeLimitError, TransientShardError
from hpcpipe.runtime.deadline import Deadline
from hpcpipe.runtime.partial import Partials
from hpcpipe.runtime.signals import StopFlag

logger = logging.getLogger(__name__)


class Ending(NamedTuple):
    """How a worker ended.

    Attributes:
        note: why, for its log and for status; "" for a plain end.
        queued_again: the scheduler will run its job again.
        gave_up: it ended before its time with work left, and nobody wanted that.
    """

    note: str
    queued_again: bool = False
    gave_up: bool = False


def why_charged(
    flag: StopFlag, deadline: Deadline, partials: Partials, *, may_stop: bool = False
) -> ShardError | None:
    """Say why giving a shard back is charged as a failure of it, lest that be done for ever.

    Args:
        flag: what stopped the worker, if anything.
        deadline: how its time stands.
        partials: the shard's saved progress.
        may_stop: it may be given back though nobody told the worker to stop.

    Returns:
        The failure: it had a whole job for itself and got nowhere, so that the next would end
        alike, or stopped of its own will; None where neither is so.

    Raises:
        OSError: the folder of its progress cannot be read.
    """
    warned = flag.signal == signal.SIGUSR2
    if warned and deadline.was_whole_job() and not partials.has_saved():
        return TimeLimitError(
            "not done within the time limit, though it had a job for itself: raise "
            "resources.time_min, or let the stage save its progress in ctx.partial"
        )
    if flag.is_set or may_stop:
        return None
    return TransientShardError("the stage raised ShardStopped, and nobody had told it to stop")


def ending(flag: StopFlag, deadline: Deadline, is_work_left: Callable[[], bool]) -> Ending:
    """Decide how a worker ends that has given back all it had; queue its job again where due.

    Only the time limit, or its warning, queues a job again: after TERM that would bring back what
    somebody has cancelled.

    Args:
        flag: what stopped the worker, if anything.
        deadline: how its time stands.
        is_work_left: looks for shards that nobody alive is working on.

    Returns:
        How it ends.

    Raises:
        OSError: the run directory fails.
    """
    if flag.failed:
        return Ending(flag.reason, gave_up=True)
    reason = flag.reason or deadline.too_near()
    if not reason or (flag.reason and flag.signal != signal.SIGUSR2):
        return Ending(reason)
    job = deadline.job
    if job is None or not is_work_left():
        return Ending(flag.reason)
    if deadline.num_attempts == 0 and deadline.was_whole_job():
        late = "the job's time was over before the first shard began: raise resources.time_min"
        return Ending(f"{reason}; {late}", gave_up=True)
    refusal = job.queue_again()
    if refusal:
        again = "launch again to go on"
        return Ending(f"{reason}; it was not queued again ({refusal}): {again}", gave_up=True)
    return Ending(f"{reason}; queued again", queued_again=True)
