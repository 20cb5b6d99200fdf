"""What the journals say of every shard: done, pending or quarantined.

Events may arrive in any order; the state is the same for any order of the same events.
"""

from collections.abc import Iterable
from typing import Literal

from hpcpipe.manifest.journal import FINALIZE, Event
from hpcpipe.manifest.plan import Plan

ShardStatus = Literal["done", "pending", "quarantined"]


class RunState:
    """The union of all journals, for one plan."""

    def __init__(self, plan: Plan, max_attempts: int, max_lost: int) -> None:
        """Start with every shard pending.

        Args:
            plan: the run's plan.
            max_attempts: failed attempts after which a shard is quarantined.
            max_lost: lost attempts, on two hosts or more, after which it is.

        Raises:
            Nothing.
        """
        self.plan = plan
        self.max_attempts = max_attempts
        self.max_lost = max_lost
        self.done: dict[str, int] = {}  # attempt that counts, by shard id
        self.failures: dict[str, dict[int, Event]] = {}
        self._lost: dict[str, dict[int, str]] = {}
        self._ended: dict[str, int] = {}
        self._reset: dict[str, int] = {}

    def apply(self, events: Iterable[Event]) -> None:
        """Take in events.

        Args:
            events: from any journals, in any order; repeated ones change nothing.

        Raises:
            Nothing.
        """
        for event in events:
            match event.event:
                case "done":
                    known = max(self.done.get(event.shard, 0), self._reset.get(event.shard, 0))
                    if event.attempt > known:
                        self.done[event.shard] = event.attempt
                case "failed":
                    failures = self.failures.setdefault(event.shard, {})
                    if event.attempt not in failures or event.final:
                        failures[event.attempt] = event
                case "closed":
                    self._end(event.block, event.attempt)
                case "lost":
                    lost = self._lost.setdefault(event.block, {})
                    lost[event.attempt] = min(event.host, lost.get(event.attempt, event.host))
                    self._end(event.block, event.attempt)
                case "reset":
                    through = max(event.attempt, self._reset.get(event.shard, 0))
                    self._reset[event.shard] = through
                    if self.done.get(event.shard, through + 1) <= through:
                        del self.done[event.shard]
                    self._end(self.block_name(event.shard), through)

    def _end(self, block: str, attempt: int) -> None:
        if attempt > self._ended.get(block, 0):
            self._ended[block] = attempt

    def block_name(self, shard_id: str) -> str:
        """Name of the block that a shard is claimed in.

        Args:
            shard_id: a shard's id, or `FINALIZE`.

        Returns:
            The block's number as text, `FINALIZE`, or "" for an id the plan does not have.

        Raises:
            Nothing.
        """
        index = self.plan.index(shard_id)
        if index is None:
            return shard_id if shard_id == FINALIZE else ""
        return str(self.plan.block_of(index))

    def next_attempt(self, block: str) -> int:
        """Number of the attempt that may be claimed once nobody works on the block.

        Args:
            block: block name.

        Returns:
            One more than the last attempt known to have ended with shards left.

        Raises:
            Nothing.
        """
        return self._ended.get(block, 0) + 1

    def is_done(self, shard_id: str) -> bool:
        """Tell whether a finished attempt counts (none reset since). Raises nothing."""
        return shard_id in self.done

    def failed_attempts(self, shard_id: str) -> list[Event]:
        """Failures of a shard that count, by attempt. Raises nothing."""
        failures = self.failures.get(shard_id)
        if not failures:
            return []
        through = self._reset.get(shard_id, 0)
        return [event for attempt, event in sorted(failures.items()) if attempt > through]

    def lost_hosts(self, shard_id: str) -> list[str]:
        """Hosts of the lost attempts on a shard's block that count. Raises nothing."""
        lost = self._lost.get(self.block_name(shard_id)) if self._lost else None
        if not lost:
            return []
        through = self._reset.get(shard_id, 0)
        return [host for attempt, host in sorted(lost.items()) if attempt > through]

    def reset_through(self, shard_id: str) -> int:
        """Last attempt on a shard that was reset, and so does not count; 0 for none."""
        return self._reset.get(shard_id, 0)

    def status(self, shard_id: str) -> ShardStatus:
        """State of one shard.

        Args:
            shard_id: its id.

        Returns:
            ``done``, ``quarantined`` (not tried again before a retry), or ``pending``.

        Raises:
            Nothing.
        """
        if self.is_done(shard_id):
            return "done"
        failed = self.failed_attempts(shard_id)
        if len(failed) >= self.max_attempts or any(event.final for event in failed):
            return "quarantined"
        hosts = self.lost_hosts(shard_id)
        if len(hosts) >= self.max_lost and len(set(hosts)) >= 2:
            return "quarantined"
        return "pending"

    def quarantined(self) -> set[str]:
        """Ids of shards that are not tried again before a retry. Raises nothing."""
        suspects = set(self.failures)
        for block in self._lost:
            if block.isdecimal():
                suspects.update(self.plan.ids[index] for index in self.plan.block(int(block)))
        suspects = {i for i in suspects if self.plan.index(i) is not None}
        return {shard_id for shard_id in suspects if self.status(shard_id) == "quarantined"}

    def pending(self, num_shards: int | None = None) -> list[int]:
        """Positions of pending shards in plan order.

        Args:
            num_shards: look only at so many shards from the plan's start; None for all.

        Returns:
            Positions in the plan.

        Raises:
            Nothing.
        """
        ids = self.plan.ids if num_shards is None else self.plan.ids[:num_shards]
        closed = self.quarantined().union(self.done)
        return [index for index, shard_id in enumerate(ids) if shard_id not in closed]

    def counts(self, num_shards: int | None = None) -> dict[ShardStatus, int]:
        """Number of shards by state.

        Args:
            num_shards: look only at so many shards from the plan's start; None for all.

        Returns:
            A count for each of the three states.

        Raises:
            Nothing.
        """
        ids = self.plan.ids if num_shards is None else self.plan.ids[:num_shards]
        num_quarantined = len(self.quarantined().intersection(ids))
        num_done = sum(map(self.done.__contains__, ids))
        return {
            "done": num_done,
            "pending": len(ids) - num_done - num_quarantined,
            "quarantined": num_quarantined,
        }
