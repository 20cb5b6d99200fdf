"""Looks at the owners of claims, and takes over what dead workers left."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.files import JSON_ERRORS
from hpcpipe.manifest.identity import Identity
from hpcpipe.manifest.journal import Brief, Event, JournalReader
from hpcpipe.manifest.owners import OwnerWatch
from hpcpipe.manifest.state import RunState

logger = logging.getLogger(__name__)

_MAX_TAKEN_OVER = 16
"""Blocks taken over at a time: the other workers see the same dead owners."""


class Owners:
    """The owners of claims as one worker sees them; whom a claim names is read once."""

    def __init__(
        self,
        state: RunState,
        reader: JournalReader[Brief],
        claims: Claims,
        watch: OwnerWatch,
        own_name: str,
        record: Callable[[Event], None],
    ) -> None:
        """Know no owner yet.

        Args:
            state: the run's state, kept up to date by the caller.
            reader: reads the journals for the caller.
            claims: reads the claims.
            watch: tells dead owners from live ones.
            own_name: name of this worker.
            record: writes to this worker's journal.

        Raises:
            Nothing.
        """
        self._state = state
        self._reader = reader
        self._claims = claims
        self._watch = watch
        self._own_name = own_name
        self._record = record
        self._known: dict[tuple[str, int], Identity] = {}
        self._taken: set[tuple[str, int]] = set()

    def is_taken(self, block: str, attempt: int) -> bool:
        """Tell whether an attempt was seen to be another worker's. Raises nothing."""
        return (block, attempt) in self._taken

    def note_taken(self, block: str, attempt: int) -> None:
        """Remember that an attempt is another worker's. Raises nothing."""
        self._taken.add((block, attempt))

    def forget(self) -> None:
        """Know no owner any more, since claims are made in another folder now. Raises nothing."""
        self._known.clear()
        self._taken.clear()

    def names(self, blocks: Iterable[str]) -> set[str]:
        """Names of the owners that are known of some blocks' next attempts. Raises nothing."""
        keys = [(block, self._state.next_attempt(block)) for block in blocks]
        return {self._known[key].name for key in keys if key in self._known}

    def look(self, block: str) -> Literal["free", "beating", "unknown", "stale"]:
        """Look at what holds a block up.

        Args:
            block: block name.

        Returns:
            ``free`` where nobody else has its next attempt, else what its owner is.

        Raises:
            OSError: the run directory fails.
        """
        attempt = self._state.next_attempt(block)
        owner = self._owner(block, attempt)
        if owner is None or owner.name == self._own_name:
            self._taken.discard((block, attempt))
            return "free"
        return self._watch.check(owner)

    def take_over(self, blocks: Iterable[str], refresh: Callable[[], None]) -> bool:
        """Declare attempts of dead owners lost, unless they or somebody else has ended them.

        Args:
            blocks: blocks whose owners are stale.
            refresh: reads what other workers have written into the state.

        Returns:
            False where that changed nothing, so that the caller waits instead of looking again.

        Raises:
            OSError: the run directory fails.
        """
        looked_at = {block: self._state.next_attempt(block) for block in blocks}
        if not looked_at:
            return False
        for known in filter(None, map(self._owner, looked_at, looked_at.values())):
            self._reader.expect(known.name)
        refresh()
        num_lost = num_ended = 0
        for block, attempt in looked_at.items():
            owner, is_ended = self._owner(block, attempt), self._is_ended(block, attempt)
            num_ended += is_ended
            if owner is None or is_ended or self._has_live_successor(block, attempt):
                continue
            self._lose(block, attempt, owner)
            num_lost += 1
            if num_lost == _MAX_TAKEN_OVER:
                break
        return num_lost + num_ended > 0

    def _is_ended(self, block: str, attempt: int) -> bool:
        return self._state.next_attempt(block) > attempt or not self._state.pending_of(block)

    def _has_live_successor(self, block: str, attempt: int) -> bool:
        """Whether somebody took the next attempt and will have said what became of this one."""
        successor = self._owner(block, attempt + 1)
        return successor is not None and self._watch.check(successor) != "stale"

    def _lose(self, block: str, attempt: int, owner: Identity) -> None:
        host = owner.node or owner.host
        text = "taking over block %s from %s on %s: attempt %d is lost"
        logger.warning(text, block, owner.label, host, attempt)
        self._record(
            Event(
                event="lost",
                attempt=attempt,
                block=block,
                owner=owner.name,
                host=host,
                at=time.time(),
            )
        )

    def _owner(self, block: str, attempt: int) -> Identity | None:
        known = self._known.get((block, attempt))
        if known is not None:
            return known
        data = self._claims.read(block, attempt)
        if data is None:
            return None
        try:
            owner = msgspec.json.decode(data, type=Identity)
        except JSON_ERRORS:
            # Written without links by a worker that died over it: its lease must run out.
            # Not remembered: a live one may be about to write it.
            name = f"unreadable-{block}.{attempt}"
            return Identity(
                name=name, label=name, host="?", node="", machine="", pid=0, start_ticks=0
            )
        if owner.name != self._own_name:
            # Not one of one's own: it was taken by a call that was reported to have failed.
            self._known[block, attempt] = owner
            self._taken.add((block, attempt))
        return owner
