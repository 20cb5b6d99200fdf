"""Sums over the events of a run, kept up to date as more of them are read."""

from hpcpipe.manifest.journal import Brief
from hpcpipe.manifest.snapshot import Snapshot
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.done_table import Counted, DoneTable, Totals


class Tally:
    """What finished shards add up to, and which worker wrote which failure.

    Attributes:
        writers: worker that wrote a failure, by shard and attempt.
        given_back: worker and event of the last attempt that failed by no fault of its shards,
            by block.
        lost: event of the last attempt whose worker died, by block.
    """

    def __init__(self, state: RunState) -> None:
        """Start empty.

        Args:
            state: the run's state, which decides what counts.

        Raises:
            Nothing.
        """
        self._state = state
        self._table = DoneTable(state)
        self.writers: dict[tuple[str, int], str] = {}
        self.given_back: dict[str, tuple[str, Brief]] = {}
        self.lost: dict[str, Brief] = {}

    def restore(self, snapshot: Snapshot) -> None:
        """Begin with the figures of shards that were done before.

        Args:
            snapshot: has them.

        Raises:
            Nothing.
        """
        self._table.restore(snapshot)

    def add(self, writer: str, events: list[Counted], indexes: list[int | None]) -> None:
        """Take in events.

        Args:
            writer: name of their journal.
            events: in any order.
            indexes: positions of their shards in the plan.

        Raises:
            Nothing.
        """
        self._table.add(events, indexes)
        for event in events:
            if event.event == "done":
                continue
            if event.event == "failed":
                self.writers[event.shard, event.attempt] = writer
            elif event.event == "closed" and event.error:
                known = self.given_back.get(event.block)
                if known is None or known[1].attempt < event.attempt:
                    self.given_back[event.block] = (writer, event)
            elif event.event == "lost":
                self.lost[event.block] = event

    def totals(self) -> Totals:
        """Add up what counts.

        Returns:
            The sums.

        Raises:
            Nothing.
        """
        return self._table.totals()
