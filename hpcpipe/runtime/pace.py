"""How fast a worker goes of late, by what its stage says inside shards; read with every beat."""

import math
import time
from collections import deque
from typing import NamedTuple

from hpcpipe.manifest.files import printable
from hpcpipe.manifest.heartbeat import MAX_COUNTERS, MAX_NAME_CHARS, largest
from hpcpipe.manifest.usage import Pace
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.unmade import num_unmade

WINDOW_S = 120.0


class _Said(NamedTuple):
    num_samples: int = 0
    num_unmade: int = 0
    bytes_in: int = 0

    def plus(self, ctx: ShardContext | None) -> "_Said":
        if ctx is None:
            return self
        return _Said(
            self.num_samples + (ctx.num_samples or 0),
            self.num_unmade + num_unmade(ctx.stats.copy()),
            self.bytes_in + (ctx.num_read or 0),
        )


class PaceMeter:
    """Remembers what was said in the last minutes; asked in another thread than it is told in."""

    def __init__(self) -> None:
        """Begin now. Raises nothing."""
        self._now: tuple[_Said, ShardContext | None] = (_Said(), None)
        self._points = deque([(time.monotonic(), _Said())])

    def begin(self, ctx: ShardContext) -> None:
        """Listen to an attempt. Raises nothing."""
        self._now = (self._now[0], ctx)

    def end(self) -> None:
        """Listen to it no more, whatever became of it. Raises nothing."""
        said, ctx = self._now
        self._now = (said.plus(ctx), None)

    def pace(self, now: float) -> Pace:
        """Tell how fast it went; called by one thread only.

        Args:
            now: monotonic time in seconds.

        Returns:
            What was said in the last two minutes, or since the beginning.

        Raises:
            Nothing.
        """
        said, ctx = self._now
        latest = said.plus(ctx)
        points = self._points
        while len(points) > 1 and points[1][0] <= now - WINDOW_S:
            points.popleft()
        since, before = points[0]
        points.append((now, latest))
        return Pace(round(now - since, 3), *(b - a for a, b in zip(before, latest, strict=True)))


def live_stats(ctx: ShardContext) -> dict[str, int | float]:
    """Copy an attempt's counters for a heartbeat, from another thread than counts.

    Args:
        ctx: the attempt.

    Returns:
        Those with short names, the largest ones where there are many, as JSON can say them.

    Raises:
        Nothing.
    """
    plain: dict[str, int | float] = {}
    for counter, number in ctx.stats.copy().items():
        name, value = printable(str(counter)), float(number)
        if len(name) <= MAX_NAME_CHARS and math.isfinite(value):
            plain[name] = int(value) if value.is_integer() else value
    return largest(plain, MAX_COUNTERS)
