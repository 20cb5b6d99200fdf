"""Ends a worker whose shard hangs, and stops one whose launching command is gone."""

import logging
import os
import time
from typing import NamedTuple

from hpcpipe.config import RunOptions
from hpcpipe.errors import TransientShardError
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.claimer import Claim
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.events import closed_event, failed_event
from hpcpipe.runtime.session import Session
from hpcpipe.runtime.signals import StopFlag

logger = logging.getLogger(__name__)

EXIT_HUNG = 75
"""Exit code of a worker whose shard made no progress for ``shard_timeout_s``."""


class AtHand(NamedTuple):
    """What a worker works on now.

    Attributes:
        claim: the claim.
        shard_id: the shard.
        ctx: its context, which knows of its progress.
    """

    claim: Claim
    shard_id: str
    ctx: ShardContext


class Watchdog:
    """Looks at a worker from its heartbeat's thread.

    Attributes:
        at_hand: what to watch; None between shards.
    """

    def __init__(
        self, session: Session, launch: Launch, flag: StopFlag, options: RunOptions
    ) -> None:
        """Start with nothing to watch.

        Args:
            session: whose heartbeat tells of the progress.
            launch: the launch of the worker.
            flag: stops the worker.
            options: how long a shard may make no progress, and how often this looks.

        Raises:
            Nothing.
        """
        self.at_hand: AtHand | None = None
        self._session = session
        self._launch = launch
        self._flag = flag
        self._shard_timeout_s = options.shard_timeout_s
        self._every_s = options.heartbeat_s
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Look once. Raises nothing; does not return where the shard hangs."""
        if self._launch.kind == "local" and not os.path.exists(f"/proc/{self._launch.pid}"):
            self._flag.stop("the command that started this worker is gone")
        now = time.monotonic()
        late_s, self._looked_at = now - self._looked_at - self._every_s, now
        at_hand, timeout_s = self.at_hand, self._shard_timeout_s
        if at_hand is None:
            return
        if late_s > self._every_s:
            # This whole process stood still, or its filesystem did: not the shard's doing.
            at_hand.ctx.progress_at += late_s
        self._session.heartbeat.update(num_samples=at_hand.ctx.num_samples or 0)
        if timeout_s is not None and now - at_hand.ctx.progress_at >= timeout_s:
            self._end(at_hand, timeout_s)

    def _end(self, at_hand: AtHand, timeout_s: float) -> None:
        """End the process, for no less can stop a thread, whether or not that can be recorded."""
        claim, shard_id, _ = at_hand
        error = f"no progress for {timeout_s:g} s (run.shard_timeout_s)"
        logger.critical("shard %s: %s; this worker ends", shard_id, error)
        try:
            hung = TransientShardError(error)
            self._session.record(failed_event(claim, shard_id, hung, timeout_s))
            self._session.record(closed_event(claim, None))
        finally:
            os._exit(EXIT_HUNG)
