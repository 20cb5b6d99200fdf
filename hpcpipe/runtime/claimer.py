"""Decides which block a worker works on next, and takes over what dead workers left.

A worker goes over the pending blocks in an order of its own, larger shards first, until nothing
can be claimed. Then it looks at the owners of what is left: blocks of dead owners are taken
over; once all owners are seen to be alive it is done.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import Brief, Event, JournalReader
from hpcpipe.manifest.owners import OwnerWatch
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.takeover import Owners

logger = logging.getLogger(__name__)

MAX_BACKOFF_S = 300.0
FIRST_POLL_S = 0.05
_MISSES_BEFORE_REFRESH = 64
MAX_WATCHED = 64
"""Blocks whose owners a waiting worker looks at: each begins at others, the last sees them all."""


class Claim(NamedTuple):
    """An attempt on a block that is this worker's.

    Attributes:
        block: block name.
        attempt: number of the attempt.
        shards: ids of its pending shards.
    """

    block: str
    attempt: int
    shards: list[str]


class Waits(NamedTuple):
    """How long a worker waits for what, in seconds.

    Attributes:
        linger_s: for owners of which nobody knows whether they live.
        poll_s: between two looks.
        backoff_s: before the second try of a shard, doubled for each one after.
        to_the_end: wait for live owners, too, until everything is done.
    """

    linger_s: float
    poll_s: float
    backoff_s: float
    to_the_end: bool


class Claimer:
    """Claims blocks for one worker."""

    def __init__(
        self,
        state: RunState,
        reader: JournalReader[Brief],
        claims: Claims,
        watch: OwnerWatch,
        waits: Waits,
        own_name: str,
        record: Callable[[Event], None],
        should_stop: Callable[[], bool],
        limit: int | None = None,
    ) -> None:
        """Start without claims.

        Args:
            state: the run's state, kept up to date from here on.
            reader: reader of the journals that `state` was made of.
            claims: takes the claims.
            watch: tells dead owners from live ones.
            waits: how long to wait for what.
            own_name: name of this worker, whose own events are applied by the caller.
            record: writes to this worker's journal.
            should_stop: whether to claim nothing more.
            limit: only so many shards from the plan's start are done; a block may go beyond.

        Raises:
            Nothing.
        """
        self._state = state
        self._reader = reader
        self._claims = claims
        self._waits = waits
        self._own_name = own_name
        self._should_stop = should_stop
        self._limit = limit
        self._not_before: dict[str, float] = {}
        self._owners = Owners(state, reader, claims, watch, own_name, record)
        self._idle_since: float | None = None
        self._num_misses = 0
        self._max_misses = _MISSES_BEFORE_REFRESH
        self._unapplied: list[Brief] = []

    def claim(self, order: Callable[[], list[str]]) -> Iterator[Claim]:
        """Claim blocks until nothing is left to claim.

        Args:
            order: gives the blocks to go over, in this worker's order; asked again once all of
                them are ended, so that shards reset or added meanwhile are seen.

        Yields:
            One claim at a time; the caller has ended it when it asks for the next.

        Raises:
            OSError: the run directory fails.
            PlanError: a plan file that was added is damaged.
        """
        blocks = order()
        while blocks:
            left, num_claimed = [], 0
            for block in blocks:
                if self._should_stop():
                    return
                claim = self._try(block)
                if claim is not None:
                    num_claimed += 1
                    self._idle_since = None
                    yield claim
                left.append(block)
            if num_claimed or self._idle_since is None:
                self.refresh()
            blocks = [block for block in left if self._pending(block)]
            if not blocks:
                self._state.plan.refresh()
                blocks = order()
            if blocks and not num_claimed and not self._wait(blocks):
                return

    def refresh(self, workers: Collection[str] | None = None) -> None:
        """Read what other workers have written.

        Args:
            workers: only these, and who is new; None for all.

        Raises:
            OSError: a journal cannot be read.
        """
        # Kept until they are applied: nothing that is read may be lost when something fails.
        told = self._reader.read(workers)
        self._unapplied += [event for name, event in told if name != self._own_name]
        self.apply(self._unapplied)
        self._unapplied = []

    def apply(self, events: Iterable[Brief]) -> None:
        """Take in events, and hold blocks back that just failed. Raises nothing."""
        now, events = time.monotonic(), list(events)
        if any(event.event == "reset" for event in events):
            self._state.plan.refresh()
        for event in events:
            self._state.apply((event,))
            block = self._state.block_name(event.shard) if event.event == "failed" else ""
            if event.event == "closed" and event.error:
                block = event.block
            if block:
                doubled = 2.0 ** min(event.attempt - 1, 30)
                delay_s = min(self._waits.backoff_s * doubled, MAX_BACKOFF_S)
                self._not_before[block] = max(self._not_before.get(block, 0.0), now + delay_s)

    def fence(self, claim: Claim) -> bool:
        """Tell whether an attempt is still this worker's, and nobody's next. Raises OSError."""
        return self._claims.holds(claim.block, claim.attempt)

    def any_unattended(self, blocks: Iterable[str]) -> bool:
        """Tell whether there is work on some blocks that nobody does.

        Args:
            blocks: pending blocks.

        Returns:
            False where each is held by a worker that was seen to be alive.

        Raises:
            OSError: the run directory fails.
        """
        return any(self._owners.look(block) != "beating" for block in blocks)

    def _pending(self, block: str) -> list[str]:
        return self._state.pending_of(block, self._limit)

    def _try(self, block: str) -> Claim | None:
        pending = self._pending(block)
        if not pending or time.monotonic() < self._not_before.get(block, 0.0):
            return None
        attempt = self._state.next_attempt(block)
        if self._owners.is_taken(block, attempt):
            return None
        try:
            is_taken = self._claims.take(block, attempt)
        except FileNotFoundError:
            # The run was over, and closed. Work that it has again is claimed in another folder.
            self.refresh()
            if not self._pending(block):
                return None
            self._claims.reopen()
            self._owners.forget()
            attempt = self._state.next_attempt(block)
            is_taken = self._claims.take(block, attempt)
        if not is_taken:
            self._miss(block, attempt)
            return None
        self._max_misses = _MISSES_BEFORE_REFRESH
        if attempt > 1:
            # Of the attempt before, its end may have been read earlier than what it finished.
            self.refresh()
            pending = self._pending(block)
        # Each attempt begins at another shard, lest one that kills its worker hold up the others.
        first = (attempt - 1) % max(len(pending), 1)
        return Claim(block, attempt, pending[first:] + pending[:first]) if pending else None

    def _miss(self, block: str, attempt: int) -> None:
        """Somebody else has it: see what else they have done, ever more rarely."""
        self._owners.note_taken(block, attempt)
        self._num_misses += 1
        if self._num_misses >= self._max_misses:
            self._num_misses = 0
            self._max_misses *= 2
            self.refresh()

    def _wait(self, blocks: list[str]) -> bool:
        """Look at what holds blocks up, and take over; False once there is nothing to wait for."""
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        delayed = {block for block in blocks if now < self._not_before.get(block, 0.0)}
        watched = [block for block in blocks if block not in delayed][:MAX_WATCHED]
        looks = {block: self._owners.look(block) for block in watched}
        views = set(looks.values())
        stale = [block for block, view in looks.items() if view == "stale"]
        if "free" in views:
            time.sleep(FIRST_POLL_S)  # lest this spin where a claim is there and cannot be seen yet
            return True
        if self._owners.take_over(stale, self.refresh):
            return True
        beating = views == {"beating"}
        if beating and not delayed and not self._waits.to_the_end:
            return False
        if not delayed and not beating and now - self._idle_since > self._waits.linger_s:
            return False
        # Looks are close together at first: most often the others are about to finish.
        pause_s = min(self._waits.poll_s, max(FIRST_POLL_S, (now - self._idle_since) / 2))
        if delayed:
            pause_s = min(pause_s, max(min(map(self._not_before.__getitem__, delayed)) - now, 0))
        until = now + pause_s
        while time.monotonic() < until and not self._should_stop():
            time.sleep(min(0.1, pause_s))
        self.refresh(self._owners.names(watched))
        return True
