"""What is logged of finished shards: rates and shares, under the names that img2dataset uses."""

from collections import Counter

from hpcpipe.runtime.done_table import Counted
from hpcpipe.runtime.unmade import is_unmade

OF_DOWNLOADS = frozenset({"urls", "retried"})
"""Counters of stages that download: their samples are called images, as their users know it."""
MAX_STATUSES = 100
_ALWAYS = ("failed_to_download", "failed_to_resize")


class Metrics:
    """Figures of one shard, or of all so far.

    Attributes:
        num_shards: shards that were added.
    """

    def __init__(self) -> None:
        """Start with no shard. Raises nothing."""
        self.num_shards = 0
        self._num_made = 0
        self._whys = Counter[str]()
        self._classes = Counter[str]()
        self._is_download = False
        self._began_at, self._ended_at = float("inf"), float("-inf")

    def add(self, event: Counted) -> None:
        """Add a shard.

        Args:
            event: its ``done``.

        Raises:
            Nothing.
        """
        self.num_shards += 1
        self._num_made += event.num_samples
        self._is_download |= not OF_DOWNLOADS.isdisjoint(event.stats)
        self._began_at = min(self._began_at, event.at - event.seconds)
        self._ended_at = max(self._ended_at, event.at)
        for counter, number in event.stats.items():
            if is_unmade(counter):
                why, _, name = counter.partition(".")
                self._whys[why] += int(number)
                self._classes[name] += int(number)

    def named(self, prefix: str) -> dict[str, float]:
        """Give the figures their names.

        Args:
            prefix: ``worker`` for one shard, ``total`` for all.

        Returns:
            ``PREFIX/img_per_sec`` (``samples_per_s`` of what is no download), ``PREFIX/count``,
            ``total/shards`` and, where samples may fail, ``PREFIX/success`` and the share of
            each why, e.g. ``PREFIX/failed_to_download``.

        Raises:
            Nothing.
        """
        count, seconds = self._count(), self._ended_at - self._began_at
        rate = "img_per_sec" if self._is_download else "samples_per_s"
        figures = {rate: count / seconds if seconds > 0 else 0.0, "count": count}
        if prefix == "total":
            figures["shards"] = self.num_shards
        if count and (self._whys or self._is_download):
            figures["success"] = self._num_made / count
            whys = (*(_ALWAYS if self._is_download else ()), *self._whys)
            figures |= {why: self._whys[why] / count for why in whys}
        return {f"{prefix}/{name}": value for name, value in figures.items()}

    def statuses(self) -> list[tuple[str, float, int]]:
        """List what became of the samples: ``success``, and failures by class.

        Returns:
            Status, share and number, most frequent first; none where no sample may fail.

        Raises:
            Nothing.
        """
        if not self._count() or not (self._whys or self._is_download):
            return []
        numbers = Counter({"success": self._num_made}) + self._classes
        count = self._count()
        return [(name, n / count, n) for name, n in numbers.most_common(MAX_STATUSES)]

    def _count(self) -> int:
        return self._num_made + self._whys.total()
