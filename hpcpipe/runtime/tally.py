"""Sums over the events of a run, kept up to date as more of them are read."""

import time
from operator import itemgetter
from typing import NamedTuple

from hpcpipe.manifest.journal import FINALIZE, Event
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.accounting import Rates

RATE_WINDOW_S = 600.0
_SLACK_S = 60.0


class Totals(NamedTuple):
    """Sums over all finished shards.

    Attributes:
        stats: counters by name.
        num_samples: their samples.
        bytes_in: bytes of input read for them, and for the last step.
        bytes_out: bytes of all outputs.
        recent: how fast it went in the last ten minutes of work, by the writers' clocks; zeros
            where nothing was finished.
    """

    stats: dict[str, int | float]
    num_samples: int
    bytes_in: int
    bytes_out: int
    recent: Rates


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

    def totals(self) -> Totals:
        """Add up what counts.

        Returns:
            The sums.

        Raises:
            Nothing.
        """
        counting = self._state.done
        events = [e for e in self._done.values() if counting.get(e.shard) == e.attempt]
        return Totals(
            stats=_sum_stats([event.stats for event in events if event.stats]),
            num_samples=sum([event.num_samples for event in events]),
            bytes_in=sum([event.bytes_in for event in events]),
            bytes_out=_bytes_out(events),
            recent=_recent([event for event in events if event.shard != FINALIZE]),
        )


def _bytes_out(events: list[Event]) -> int:
    return sum([file.size_bytes for event in events for file in event.outputs])


def _sum_stats(stats: list[dict[str, int | float]]) -> dict[str, int | float]:
    sums: dict[str, int | float] = {}
    for name in sorted(set[str]().union(*stats)):
        try:
            # Nearly always every shard has every counter, and this takes a tenth of the time.
            sums[name] = sum(map(itemgetter(name), stats))
        except KeyError:
            sums[name] = sum(counters[name] for counters in stats if name in counters)
    return sums


def _recent(events: list[Event]) -> Rates:
    if not events:
        return Rates()
    latest = max([event.at for event in events])
    recent = [event for event in events if event.at > latest - RATE_WINDOW_S]
    first = max(min([event.at - event.seconds for event in recent]), latest - RATE_WINDOW_S)
    span_s = max(latest, min(time.time(), latest + _SLACK_S)) - first
    if span_s <= 0:
        return Rates()
    return Rates(
        shards_per_s=len(recent) / span_s,
        samples_per_s=sum([event.num_samples for event in recent]) / span_s,
        bytes_in_per_s=sum([event.bytes_in for event in recent]) / span_s,
        bytes_out_per_s=_bytes_out(recent) / span_s,
    )
