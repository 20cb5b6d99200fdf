"""What is remembered of a host: who waits for it, how it answers, when it is to be left alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from hpcpipe.clients.records import HostStats

if TYPE_CHECKING:
    from hpcpipe.clients.job import Job


class Host:
    """A name and port.

    Attributes:
        name: ``name:port``.
        waiting: jobs whose turn is to come.
        num_active: transfers under way.
        is_listed: it stands among the hosts that can start a transfer.
        not_before: when the next transfer may start, by the fetcher's clock.
        wakes_at: when it is looked at again; 0 for not planned.
        num_pauses: times in a row that it asked for a pause.
        num_silent: transfers in a row that it did not answer.
        dead_until: until when its URLs fail at once.
        num_requests, num_failures, total_s: of transfers that ended.
    """

    __slots__ = (
        *("dead_until", "is_listed", "name", "not_before", "num_active", "num_failures"),
        *("num_pauses", "num_requests", "num_silent", "total_s", "waiting", "wakes_at"),
    )

    def __init__(self, name: str) -> None:
        """Know nothing of it yet. Raises nothing."""
        self.name = name
        self.waiting: deque[Job] = deque()
        self.num_active = 0
        self.is_listed = False
        self.not_before = 0.0
        self.wakes_at = 0.0
        self.num_pauses = 0
        self.num_silent = 0
        self.dead_until = 0.0
        self.num_requests = 0
        self.num_failures = 0
        self.total_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Nothing waits for it or is under way. Raises nothing."""
        return not (self.waiting or self.num_active or self.is_listed)

    def count(self, seconds: float, failed: bool) -> None:
        """Count a transfer that ended. Raises nothing."""
        self.num_requests += 1
        self.num_failures += failed
        self.total_s += seconds

    def stats(self) -> HostStats:
        """What was counted. Raises nothing."""
        return HostStats(
            self.name, self.num_requests, self.num_failures, self.total_s / self.num_requests
        )


class Hosts:
    """Hosts by name; those not asked for the longest are forgotten first."""

    def __init__(self, max_hosts: int) -> None:
        """Know none. Raises nothing."""
        self._max_hosts = max_hosts
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def get(self, name: str, port: int) -> Host:
        """Find or make a host. Raises nothing."""
        key = f"{name}:{port}"
        host = self._hosts.get(key)
        if host is not None:
            self._hosts.move_to_end(key)
            return host
        host = self._hosts[key] = Host(key)
        if len(self._hosts) > self._max_hosts:
            self._forget()
        return host

    def _forget(self) -> None:
        oldest = next(iter(self._hosts.values()))
        if oldest.is_idle:
            del self._hosts[oldest.name]
        else:
            self._hosts.move_to_end(oldest.name)

    def slowest(self, num: int) -> list[HostStats]:
        """Hosts whose transfers took longest on average, the slowest first. Raises nothing."""
        used = (host.stats() for host in self._hosts.values() if host.num_requests)
        return sorted(used, key=lambda stats: -stats.mean_s)[:num]
