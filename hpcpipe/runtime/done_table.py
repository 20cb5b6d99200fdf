"""Figures of every finished shard, and their sums, kept up to date as events are read.

A shard may be finished more than once (it was reset, or two workers had it): the run's state says
which attempt counts.
"""

import time
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, compress, pairwise
from operator import itemgetter, sub
from typing import NamedTuple, cast

import msgspec

from hpcpipe.manifest.journal import FINALIZE, Brief
from hpcpipe.manifest.snapshot import Snapshot
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.accounting import Rates

RATE_WINDOW_S = 600.0
_SLACK_S = 60.0

Stats = Mapping[str, int | float]
Sums = dict[str, int | float]


class _Sized(msgspec.Struct, frozen=True, gc=False):
    size_bytes: int


class Counted(Brief, frozen=True, gc=False):
    """What a journal line adds to the sums: of its outputs only their sizes.

    Attributes:
        seconds: time the shard took.
        outputs: finished files (``done``).
        stats: counters (``done``).
        num_samples: samples in the shard (``done``).
        bytes_in: bytes of input read for it (``done``).
    """

    seconds: float = 0.0
    outputs: tuple[_Sized, ...] = ()
    stats: dict[str, int | float] = {}  # noqa: RUF012 - never written to
    num_samples: int = 0
    bytes_in: int = 0


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


class DoneTable:
    """One row for every finished attempt, in the order they were read."""

    def __init__(self, state: RunState) -> None:
        """Start empty.

        Args:
            state: the run's state, which decides what counts.

        Raises:
            Nothing.
        """
        self._state = state
        self._indexes = array("i")  # position of the shard in the plan; one a row, as all below
        self._attempts = array("i")
        self._at = array("d")
        self._seconds = array("d")
        self._num_samples = array("q")
        self._bytes_in = array("q")
        self._bytes_out = array("q")
        self._snapshot: Snapshot | None = None
        self._stats: list[Stats] = []  # of the rows that are not the snapshot's
        self._stats_sum: Sums = {}  # of all rows
        self._last_step: Counted | None = None
        self._early: list[Counted] = []  # of shards in plan files that were not read yet

    def restore(self, snapshot: Snapshot) -> None:
        """Begin with the rows of a snapshot, before any others.

        Args:
            snapshot: has a row for every shard that is done.

        Raises:
            Nothing.
        """
        attempts = snapshot.attempts()
        self._snapshot = snapshot
        self._indexes.extend(compress(range(len(attempts)), attempts))
        self._attempts.extend(filter(None, attempts))
        self._at.extend(snapshot.figures("ended_at", "d"))
        self._seconds.extend(snapshot.figures("seconds", "d"))
        self._num_samples.extend(snapshot.figures("num_samples", "q"))
        self._bytes_in.extend(snapshot.figures("bytes_in", "q"))
        self._bytes_out.extend(snapshot.figures("bytes_out", "q"))
        self._stats_sum = snapshot.stats_sums()

    def _stats_of(self, row: int) -> Stats:
        num_restored = len(self._indexes) - len(self._stats)
        if self._snapshot is not None and row < num_restored:
            return self._snapshot.stats(row)
        return self._stats[row - num_restored]

    def add(self, events: list[Counted], indexes: list[int | None]) -> None:
        """Take in events.

        Args:
            events: in any order; all but ``done`` are passed over.
            indexes: positions of their shards in the plan.

        Raises:
            Nothing.
        """
        if None in indexes or any([event.event != "done" for event in events]):
            events, indexes = self._set_aside(events, indexes)
        self._indexes.fromlist(cast(list[int], indexes))
        self._attempts.fromlist([event.attempt for event in events])
        self._at.fromlist([event.at for event in events])
        self._seconds.fromlist([event.seconds for event in events])
        self._num_samples.fromlist([event.num_samples for event in events])
        self._bytes_in.fromlist([event.bytes_in for event in events])
        self._bytes_out.fromlist(_bytes_out(events))
        stats = [event.stats for event in events]
        self._stats += stats
        _add(self._stats_sum, _sum_stats(stats), 1)

    def _set_aside(
        self, events: list[Counted], indexes: list[int | None]
    ) -> tuple[list[Counted], list[int | None]]:
        """Keep what makes no row, and give the rest."""
        done = [(e, index) for e, index in zip(events, indexes, strict=True) if e.event == "done"]
        self._add_others([event for event, index in done if index is None])
        rest = [(event, index) for event, index in done if index is not None]
        return [event for event, _ in rest], [index for _, index in rest]

    def _add_others(self, events: list[Counted]) -> None:
        for event in events:
            if event.shard != FINALIZE:
                self._early.append(event)
            elif self._last_step is None or self._last_step.attempt < event.attempt:
                self._last_step = event

    def totals(self) -> Totals:
        """Add up what counts.

        Returns:
            The sums.

        Raises:
            Nothing.
        """
        early, self._early = self._early, []
        self.add(early, self._state.plan.indexes([event.shard for event in early]))
        stats = dict(self._stats_sum)
        outdated = self._outdated()
        _add(stats, _sum_stats([self._stats_of(row) for row in outdated]), -1)
        num_samples, bytes_in, bytes_out = (
            sum(column) - sum([column[row] for row in outdated])
            for column in (self._num_samples, self._bytes_in, self._bytes_out)
        )
        last = self._last_step
        if last is not None and self._state.done_attempt(FINALIZE) == last.attempt:
            bytes_in += last.bytes_in
            bytes_out += sum(_bytes_out([last]))
            _add(stats, last.stats, 1)
        recent = self._recent(outdated)
        return Totals(dict(sorted(stats.items())), num_samples, bytes_in, bytes_out, recent)

    def _outdated(self) -> list[int]:
        """Rows that do not count."""
        if len(self._indexes) == self._state.num_done:
            return []  # since each shard that is done has the row that counts
        rows = self._state.outdated(self._indexes, self._attempts)
        if len(self._indexes) - len(rows) <= self._state.num_done:
            return rows
        # Lines stand twice in a journal whose writer was interrupted.
        left_out, seen = set(rows), set[tuple[int, int]]()
        for row, pair in enumerate(zip(self._indexes, self._attempts, strict=True)):
            if pair in seen:
                left_out.add(row)
            seen.add(pair)
        return sorted(left_out)

    def _recent(self, outdated: list[int]) -> Rates:
        at = self._at
        if outdated:
            at = at[:]
            for row in outdated:
                at[row] = 0.0
        latest = max(at, default=0.0)
        if not latest:
            return Rates()
        begin = latest - RATE_WINDOW_S
        recent = [when > begin for when in at]
        first = max(min(map(sub, compress(at, recent), compress(self._seconds, recent))), begin)
        span_s = max(latest, min(time.time(), latest + _SLACK_S)) - first
        if span_s <= 0:
            return Rates()
        return Rates(
            shards_per_s=sum(recent) / span_s,
            samples_per_s=sum(compress(self._num_samples, recent)) / span_s,
            bytes_in_per_s=sum(compress(self._bytes_in, recent)) / span_s,
            bytes_out_per_s=sum(compress(self._bytes_out, recent)) / span_s,
        )


def _bytes_out(events: Sequence[Counted]) -> list[int]:
    """Sum of each one's outputs; nothing is called once a row, which would take the most time."""
    outputs = [event.outputs for event in events]
    sums = list(accumulate([file.size_bytes for files in outputs for file in files], initial=0))
    ends = accumulate(map(len, outputs), initial=0)
    return [sums[end] - sums[begin] for begin, end in pairwise(ends)]


def _add(sums: Sums, stats: Stats, sign: int) -> None:
    for name, value in stats.items():
        sums[name] = sums.get(name, 0) + sign * value


def _sum_stats(stats: Sequence[Stats]) -> Sums:
    sums: Sums = {}
    for name in set[str]().union(*stats):
        try:
            # Nearly always every shard has every counter, and this takes a tenth of the time.
            sums[name] = sum(map(itemgetter(name), stats))
        except KeyError:
            sums[name] = sum(counters[name] for counters in stats if name in counters)
    return sums
