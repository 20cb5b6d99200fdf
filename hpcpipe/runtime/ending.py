"""How a worker ends, and whether it asks to be run again."""

import logging
import signal
from collections.abc import Callable
from typing import NamedTuple

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


TOO_LONG = (
    "not done within the time limit, though it had a job for itself: raise resources.time_min, "
    "or let the stage save its progress in ctx.partial"
)


def outlasted_its_job(flag: StopFlag, deadline: Deadline, partials: Partials) -> bool:
    """Tell whether a shard that is given back had a whole job for itself, and got nowhere.

    Args:
        flag: what stopped the worker.
        deadline: how its time stands.
        partials: the shard's saved progress.

    Returns:
        True where the next job would end alike, so that the shard is charged a failure.

    Raises:
        OSError: its folder cannot be read.
    """
    warned = flag.signal == signal.SIGUSR2
    return warned and deadline.was_whole_job() and not partials.has_saved()


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
