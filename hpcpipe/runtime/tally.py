"""Sums over the events of a run, kept up to date as more of them are read."""

import time

from hpcpipe.manifest.journal import FINALIZE, Event
from hpcpipe.manifest.state import RunState

RATE_WINDOW_S = 600.0
_SLACK_S = 60.0


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
        self._done: dict[str, Event] = {}
        self.writers: dict[tuple[str, int], str] = {}
        self.given_back: dict[str, tuple[str, Event]] = {}
        self.lost: dict[str, Event] = {}

    def add(self, events: list[tuple[str, Event]]) -> None:
        """Take in events.

        Args:
            events: (journal name, event) pairs, in any order.

        Raises:
            Nothing.
        """
        done = self._done
        for writer, event in events:
            if event.event == "done":
                before = done.get(event.shard)
                if before is None or before.attempt < event.attempt:
                    done[event.shard] = event
            elif event.event == "failed":
                self.writers[event.shard, event.attempt] = writer
            elif event.event == "closed" and event.error:
                known = self.given_back.get(event.block)
                if known is None or known[1].attempt < event.attempt:
                    self.given_back[event.block] = (writer, event)
            elif event.event == "lost":
                self.lost[event.block] = event

    def sums(self) -> tuple[dict[str, int | float], int]:
        """Add up what counts.

        Returns:
            Counters by name, and the bytes of all outputs.

        Raises:
            Nothing.
        """
        stats: dict[str, int | float] = {}
        num_bytes = 0
        for event in self._counting():
            for name, number in event.stats.items():
                stats[name] = stats.get(name, 0) + number
            for file in event.outputs:
                num_bytes += file.size_bytes
        return dict(sorted(stats.items())), num_bytes

    def shards_per_s(self) -> float:
        """Tell how fast shards were finished in the last ten minutes of work.

        Returns:
            Shards a second by the writers' clocks; 0 where nothing was finished.

        Raises:
            Nothing.
        """
        times = [(e.at, e.seconds) for e in self._counting() if e.shard != FINALIZE]
        if not times:
            return 0.0
        latest, _ = max(times)
        recent = [(at, seconds) for at, seconds in times if at > latest - RATE_WINDOW_S]
        first = max(min(at - seconds for at, seconds in recent), latest - RATE_WINDOW_S)
        span_s = max(latest, min(time.time(), latest + _SLACK_S)) - first
        return len(recent) / span_s if span_s > 0 else 0.0

    def _counting(self) -> list[Event]:
        counting = self._state.done
        return [e for e in self._done.values() if counting.get(e.shard) == e.attempt]
