"""Ends a worker whose shard hangs or outlasts its job, or whose launching command is gone."""

import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

from hpcpipe.config import RunOptions
from hpcpipe.errors import OutageError, TransientShardError
from hpcpipe.manifest.files import printable
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.claimer import Claim
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.deadline import Deadline
from hpcpipe.runtime.ending import ending, why_charged
from hpcpipe.runtime.events import closed_event, failed_event
from hpcpipe.runtime.pace import PaceMeter, live_stats
from hpcpipe.runtime.session import Session
from hpcpipe.runtime.signals import StopFlag

logger = logging.getLogger(__name__)

RELEASE_S = 3.0
"""How long what the stage opened may take to be closed, where the process must end."""
LAST_SECONDS_S = 10.0
"""Time that giving back and asking to be queued again may take."""
EXIT_STOPPED = 4
"""Exit code of a worker that stopped with shards left."""
EXIT_HUNG = 75
"""Exit code of a worker whose shard made no progress for ``shard_timeout_s``."""


_NUM_STUCK = 5
_STUCK_POLL_S = 0.1


class AtHand(NamedTuple):
    """What a worker works on now.

    Attributes:
        claim: the claim.
        shard_id: the shard.
        ctx: its context, which knows of its progress.
        began_at: monotonic time of the attempt's begin, in seconds.
    """

    claim: Claim
    shard_id: str
    ctx: ShardContext
    began_at: float


class Watchdog:
    """Looks at a worker from its heartbeat's thread."""

    def __init__(
        self,
        session: Session,
        launch: Launch,
        flag: StopFlag,
        options: RunOptions,
        deadline: Deadline,
    ) -> None:
        """Start with nothing to watch.

        Args:
            session: whose heartbeat tells of the progress.
            launch: the launch of the worker.
            flag: stops the worker.
            options: how long a shard may make no progress, and how often this looks.
            deadline: how the worker's time stands.

        Raises:
            Nothing.
        """
        self._at_hand: AtHand | None = None
        self._over = threading.Lock()  # held by who says what became of an attempt
        self._session = session
        self._launch = launch
        self._flag = flag
        self._deadline = deadline
        self._shard_timeout_s = options.shard_timeout_s
        self._every_s = options.heartbeat_s
        self._pace = PaceMeter()
        self._looked_at = time.monotonic()

    def begin(self, at_hand: AtHand) -> None:
        """Watch this from now on. Raises nothing."""
        self._pace.begin(at_hand.ctx)
        self._at_hand = at_hand

    def let_go(self) -> None:
        """Watch nothing; does not return where the worker is just being ended. Raises nothing."""
        with self._over:
            self._at_hand = None
            self._pace.end()

    def look(self) -> None:
        """Look once. Raises nothing; does not return where the worker must end."""
        if self._launch.kind == "local" and not os.path.exists(f"/proc/{self._launch.pid}"):
            self._flag.stop("the command that started this worker is gone")
        now = time.monotonic()
        late_s, self._looked_at = now - self._looked_at - self._every_s, now
        self._tell(now)
        at_hand, timeout_s = self._at_hand, self._shard_timeout_s
        if at_hand is None:
            return
        if late_s > self._every_s:
            # This whole process stood still, or its filesystem did: not the shard's doing.
            at_hand.ctx.progress_at += late_s
        if timeout_s is not None and now - at_hand.ctx.progress_at >= timeout_s:
            is_stuck = _is_stuck()
            with self._over:
                if self._at_hand is at_hand:
                    self._end_hung(at_hand, timeout_s, is_stuck=is_stuck)
        if self._flag.signal == signal.SIGUSR2 and self._deadline.is_over(
            self._every_s + LAST_SECONDS_S
        ):
            with self._over:
                if self._at_hand is at_hand:
                    self._end_late(at_hand)

    def _tell(self, now: float) -> None:
        """Say in the heartbeat how far the shard at hand is."""
        with self._over:  # what is said of one shard is never said under another's name
            news: dict[str, object] = {"pace": self._pace.pace(now)}
            if self._at_hand is not None:
                ctx = self._at_hand.ctx
                news["num_samples"], news["bytes_in"] = ctx.num_samples or 0, ctx.num_read or 0
                news["stats"], news["remark"] = live_stats(ctx), ctx.remarked
            self._session.heartbeat.update(**news)

    def _end_late(self, at_hand: AtHand) -> None:
        """Give back, as the limit comes, what did not stop at the warning; be queued again.

        The scheduler would end the job and not run it again.
        """
        claim, shard_id, ctx, began_at = at_hand
        logger.critical("shard %s: it has not stopped and the job is over: given back", shard_id)
        try:
            why = why_charged(self._flag, self._deadline, ctx.partials)
            if why is not None:
                seconds = time.monotonic() - began_at
                self._session.record_once(failed_event(claim, shard_id, why, seconds))
            self._session.record_once(closed_event(claim, None))
            end = ending(self._flag, self._deadline, lambda: True)
            logger.critical("stopping: %s", end.note)
            self._session.heartbeat.at_hand("")
            self._session.heartbeat.update(state="ended", note=end.note)
            self._session.heartbeat.beat_now()
        finally:
            self._session.release_within(RELEASE_S)
            os._exit(EXIT_STOPPED)

    def _end_hung(self, at_hand: AtHand, timeout_s: float, *, is_stuck: bool) -> None:
        """End the process, for no less can stop a thread, whether or not that can be recorded.

        A job of its own is queued again, lest every such shard cost the run a worker.
        """
        claim, shard_id, *_ = at_hand
        error = f"no progress for {timeout_s:g} s (run.shard_timeout_s)"
        outage = None
        if is_stuck:
            error += f": {socket.gethostname()} waits for a filesystem or device without an answer"
            outage = OutageError(error)
        logger.critical("shard %s: %s; this worker ends", shard_id, error)
        try:
            if outage is None:
                hung = TransientShardError(error)
                self._session.record_once(failed_event(claim, shard_id, hung, timeout_s))
            self._session.record_once(closed_event(claim, outage))
            note = printable(f"shard {shard_id}: {error}")
            self._session.heartbeat.at_hand("")
            self._session.heartbeat.update(state="ended", note=note)
            self._session.heartbeat.beat_now()
            job = self._deadline.job
            if job is not None and job.is_alone and not self._flag.is_set:
                logger.critical("stopping: %s", job.queue_again() or "queued again")
        finally:
            self._session.release_within(RELEASE_S)
            os._exit(EXIT_HUNG)


def _is_stuck() -> bool:
    """Whether the working thread waits in the kernel, where no signal but SIGKILL reaches it."""
    for _ in range(_NUM_STUCK):
        stat = Path(f"/proc/self/task/{os.getpid()}/stat").read_text()
        if stat[stat.rindex(")") + 2] != "D":
            return False
        time.sleep(_STUCK_POLL_S)
    return True
