"""What the journals say of every attempt: which ones finished, failed, were lost or reset.

Events may arrive in any order; what is known is the same for any order of the same events.
"""

from array import array
from collections.abc import Iterable

from hpcpipe.manifest.journal import FINALIZE, Brief
from hpcpipe.manifest.plan import Plan


class Attempts:
    """The union of all journals, for one plan.

    Attributes:
        plan: the run's plan.
        failures: failed attempts by shard id and number.
        lost: hosts of lost attempts by block and number.
        given_back: hosts of attempts that the machine spoilt, likewise.
    """

    def __init__(self, plan: Plan) -> None:
        """Start without attempts.

        Args:
            plan: the run's plan.

        Raises:
            Nothing.
        """
        self.plan = plan
        self.failures: dict[str, dict[int, Brief]] = {}
        self._done = array("i")  # attempt that counts by position in the plan, 0 for none
        self._num_done = 0
        self._finalized = 0
        self._early: list[Brief] = []  # of shards in plan files that were not read yet
        self.lost: dict[str, dict[int, str]] = {}
        self.given_back: dict[str, dict[int, str]] = {}
        self._ended: dict[str, int] = {}
        self._reset: dict[str, int] = {}
        self._grow()

    def _grow(self) -> None:
        """Make room for shards that were added to the plan."""
        num_new = len(self.plan) - len(self._done)
        if num_new:
            self._done.frombytes(bytes(num_new * self._done.itemsize))
            early, self._early = self._early, []
            self.apply(early)

    def restore(self, attempts: "array[int]") -> None:
        """Begin with what was done before, instead of its events.

        Args:
            attempts: attempts that count by position in the plan, 0 for none; shards that were
                added to the plan since are left out.

        Raises:
            ValueError: events were applied before.
        """
        if self._num_done:
            raise ValueError("the state has begun already")
        self._done[: len(attempts)] = attempts
        self._num_done = len(attempts) - attempts.count(0)

    def attempts(self) -> "array[int]":
        """Attempts that count by position in the plan, 0 for none. Raises nothing."""
        self._grow()
        return self._done[:]

    def apply(self, events: Iterable[Brief], indexes: Iterable[int | None] | None = None) -> None:
        """Take in events.

        Args:
            events: from any journals, in any order; repeated ones change nothing.
            indexes: positions of their shards in the plan, where somebody has looked them up.

        Raises:
            Nothing.
        """
        self._grow()
        done, through, events, num_new = self._done, self._reset, list(events), 0
        if indexes is None:
            indexes = self.plan.indexes([event.shard for event in events])
        for event, index in zip(events, indexes, strict=True):
            match event.event:
                case "done":
                    if through and event.attempt <= through.get(event.shard, 0):
                        continue
                    if index is None:
                        self._finish_other(event)
                    elif event.attempt > (before := done[index]):
                        num_new += not before
                        done[index] = event.attempt
                case "failed":
                    failures = self.failures.setdefault(event.shard, {})
                    if event.attempt not in failures or event.final:
                        failures[event.attempt] = event
                case "closed":
                    if event.error:
                        self.given_back.setdefault(event.block, {})[event.attempt] = event.host
                    self._end(event.block, event.attempt)
                case "lost":
                    lost = self.lost.setdefault(event.block, {})
                    lost[event.attempt] = min(event.host, lost.get(event.attempt, event.host))
                    self._end(event.block, event.attempt)
                case "reset":
                    self._forget(event)
        self._num_done += num_new

    def _finish_other(self, event: Brief) -> None:
        if event.shard == FINALIZE:
            self._finalized = max(self._finalized, event.attempt)
        else:
            self._early.append(event)

    def _forget(self, event: Brief) -> None:
        through = max(event.attempt, self._reset.get(event.shard, 0))
        self._reset[event.shard] = through
        index = self.plan.index(event.shard)
        if index is not None:
            if 0 < self._done[index] <= through:
                self._done[index] = 0
                self._num_done -= 1
        elif event.shard != FINALIZE:
            self._early.append(event)
            return
        elif self._finalized <= through:
            self._finalized = 0
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

    def last_attempt(self, block: str) -> int:
        """Highest attempt on a block that any journal line speaks of.

        Args:
            block: block name.

        Returns:
            Its number, 0 where there is none. Claims may know of later ones.

        Raises:
            IndexError: there is no such block.
        """
        self._grow()
        ids, done = [block], array("i", [self._finalized])
        if block != FINALIZE:
            indexes = self.plan.block(int(block))
            ids = self.plan.ids[indexes.start : indexes.stop]
            done = self._done[indexes.start : indexes.stop]
        failed = [max(self.failures[i]) for i in ids if i in self.failures]
        return max(self._ended.get(block, 0), *done, *failed)

    def is_done(self, shard_id: str) -> bool:
        """Tell whether a finished attempt counts (none reset since). Raises nothing."""
        return self.done_attempt(shard_id) > 0

    @property
    def num_done(self) -> int:
        """Number of shards that are done."""
        self._grow()
        return self._num_done

    def done_attempt(self, shard_id: str) -> int:
        """Number of the finished attempt that counts; 0 where there is none. Raises nothing."""
        self._grow()
        index = self.plan.index(shard_id)
        if index is not None:
            return self._done[index]
        return self._finalized if shard_id == FINALIZE else 0

    def outdated(self, indexes: "array[int]", attempts: "array[int]") -> list[int]:
        """Find out which finished attempts do not count, or not any more.

        Args:
            indexes: positions of shards in the plan.
            attempts: the finished attempt of each.

        Returns:
            Positions in these two of the ones that do not count.

        Raises:
            Nothing.
        """
        self._grow()
        counting = map(self._done.__getitem__, indexes)
        return [row for row, same in enumerate(map(int.__eq__, attempts, counting)) if not same]

    def retried(self) -> list[str]:
        """Ids of done shards that more than one attempt may have worked on. Raises nothing."""
        self._grow()
        found = {n for n, attempt in enumerate(self._done) if attempt > 1}
        for block in filter(str.isdecimal, self._ended):
            # Its end was seen, and the next attempt begun, perhaps before it finished after all.
            found.update(n for n in self.plan.block(int(block)) if self._done[n])
        return [self.plan.ids[n] for n in sorted(found)]

    def failed_attempts(self, shard_id: str) -> list[Brief]:
        """Failures of a shard that count, by attempt. Raises nothing."""
        failures = self.failures.get(shard_id)
        if not failures:
            return []
        through = self._reset.get(shard_id, 0)
        return [event for attempt, event in sorted(failures.items()) if attempt > through]

    def lost_hosts(self, shard_id: str) -> list[str]:
        """Hosts of the lost attempts on a shard's block that count. Raises nothing."""
        lost = self.lost.get(self.block_name(shard_id), {}) if self.lost else {}
        through = self._reset.get(shard_id, 0)
        return [host for attempt, host in sorted(lost.items()) if attempt > through]

    def reset_through(self, shard_id: str) -> int:
        """Last attempt on a shard that was reset, and so does not count; 0 for none."""
        return self._reset.get(shard_id, 0)
