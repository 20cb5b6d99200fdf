"""What the journals make of every shard: done, pending or quarantined."""

from typing import Literal

from hpcpipe.manifest.attempts import Attempts
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan

ShardStatus = Literal["done", "pending", "quarantined"]


class RunState(Attempts):
    """What is done of a plan, and what is left."""

    def __init__(self, plan: Plan, max_attempts: int, max_lost: int) -> None:
        """Start with every shard pending.

        Args:
            plan: the run's plan.
            max_attempts: failed attempts after which a shard is quarantined.
            max_lost: lost attempts after which it is; twice as many if all on one host.

        Raises:
            Nothing.
        """
        super().__init__(plan)
        self.max_attempts = max_attempts
        self.max_lost = max_lost

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
        # One host that kills its workers must not cost shards, nor one shard all of them.
        if len(hosts) >= self.max_lost * (1 if len(set(hosts)) > 1 else 2):
            return "quarantined"
        return "pending"

    def quarantined(self) -> set[str]:
        """Ids of shards that are not tried again before a retry. Raises nothing."""
        suspects = set(self.failures)
        for block in self.lost:
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
        self._grow()
        closed = set(map(self.plan.index, self.quarantined()))
        left = [n for n, attempt in enumerate(self._done[:num_shards]) if not attempt]
        return [index for index in left if index not in closed] if closed else left

    def pending_of(self, block: str, num_shards: int | None = None) -> list[str]:
        """Pending shards of a block.

        Args:
            block: block name.
            num_shards: look only at so many shards from the plan's start; None for all.

        Returns:
            Their ids, in plan order.

        Raises:
            IndexError: there is no such block.
        """
        self._grow()
        if block == FINALIZE:
            return [FINALIZE] if self.status(FINALIZE) == "pending" else []
        done, ids = self._done, self.plan.ids
        indexes = self.plan.block(int(block))
        if num_shards is not None:
            indexes = range(indexes.start, min(indexes.stop, num_shards))
        left = [ids[index] for index in indexes if not done[index]]
        return [shard_id for shard_id in left if self.status(shard_id) == "pending"]

    def counts(self, num_shards: int | None = None) -> dict[ShardStatus, int]:
        """Number of shards by state.

        Args:
            num_shards: look only at so many shards from the plan's start; None for all.

        Returns:
            A count for each of the three states.

        Raises:
            Nothing.
        """
        self._grow()
        num_all, quarantined = len(self._done), self.quarantined()
        num_done = self._num_done
        if num_shards is not None and num_shards < num_all:
            num_all = num_shards
            num_done = num_all - self._done[:num_all].count(0)
            quarantined = quarantined.intersection(self.plan.ids[:num_all])
        return {
            "done": num_done,
            "pending": num_all - num_done - len(quarantined),
            "quarantined": len(quarantined),
        }
