"""Whether the node that a worker is on is fit to go on."""

import logging
import time

from hpcpipe.config import Config
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.attempt import Outcome
from hpcpipe.runtime.claimer import MAX_BACKOFF_S
from hpcpipe.runtime.deadline import Deadline
from hpcpipe.runtime.nodes import bad_node_limit, find_bad_nodes, node_of, num_failed_by_node
from hpcpipe.runtime.session import Session
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.workers import read_workers

logger = logging.getLogger(__name__)


class Health:
    """Stops a worker whose node is bad, lest it spoil one shard after the other."""

    def __init__(
        self, session: Session, config: Config, state: RunState, flag: StopFlag, deadline: Deadline
    ) -> None:
        """Start healthy.

        Args:
            session: the worker's.
            config: its config.
            state: the run's state, kept up to date by the worker.
            flag: stops the worker.
            deadline: knows the worker's job.

        Raises:
            Nothing.
        """
        self._session = session
        self._options = config.run
        self._limit = bad_node_limit(config.launcher)
        self._state = state
        self._flag = flag
        self._deadline = deadline
        self._has_failed = False
        self._is_suspect = False
        self._num_pauses = 0

    def add(self, outcome: Outcome) -> None:
        """Take in what became of an attempt. Raises nothing."""
        if outcome.kind == "done":
            self._has_failed, self._num_pauses = False, 0
        elif outcome.kind in ("failed", "environment"):
            self._has_failed = True

    def look(self) -> None:
        """Look after failures, between two claims: stop on a bad node, wait on one that may be.

        A node that fails at once would else spoil all shards before another finishes its first.

        Raises:
            OSError: a worker's files cannot be read.
        """
        if not self._has_failed:
            return
        self._has_failed = self._is_suspect = False
        if not self.check_node() or not self._is_suspect:
            return
        pause_s = min(self._options.backoff_s * 2.0**self._num_pauses, MAX_BACKOFF_S)
        self._num_pauses += 1
        logger.warning("this node fails; waiting %g s to see how others do", pause_s)
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not self._flag.no_more_claims():
            time.sleep(min(1.0, pause_s))
        self.check_node()

    def check_node(self, *, after_setup: bool = False) -> bool:
        """Stop the worker where its node is bad, and have no other one started there.

        Args:
            after_setup: the worker could not be set up; the shards alone need not tell.

        Returns:
            Whether the node is fit to work on.

        Raises:
            OSError: a worker's files cannot be read.
        """
        own = node_of(self._session.identity)
        if self._limit is None:
            return True
        if not after_setup and num_failed_by_node(self._state)[own] < self._limit:
            return True
        workers = read_workers(self._session.run, self._options.lease_s)
        bad = find_bad_nodes(self._state, workers, self._limit)
        if not any(node.name == own for node in bad):
            num_done = sum(v.beat.used.num_done for v in workers if node_of(v.identity) == own)
            others = any(v.state == "running" and node_of(v.identity) != own for v in workers)
            self._is_suspect = others and num_failed_by_node(self._state)[own] > num_done
            return True
        self._flag.stop(f"bad node {', '.join(map(str, bad))} (launcher.exclude_bad_nodes)")
        if self._deadline.job is not None:
            self._deadline.job.avoid([node.name for node in bad])
        return False
