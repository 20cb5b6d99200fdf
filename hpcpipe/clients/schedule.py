"""Whose turn it is: hosts one after the other, so that none holds up the others."""

import heapq
import itertools
from collections import deque

from hpcpipe.clients.host import Host
from hpcpipe.clients.job import Job, Where


class Schedule:
    """Jobs that wait for their host's turn, and jobs that wait for a time.

    Hosts that can start a transfer stand in one line and go to its end after each, so that a host
    with a thousand jobs gets no more turns than one with two. Jobs that ended while they waited
    are left where they are and dropped when they come up.
    """

    def __init__(self, max_per_host: int, host_rate_per_s: float | None) -> None:
        """Begin empty.

        Args:
            max_per_host: transfers at once at one host.
            host_rate_per_s: transfers begun in a second at one host; None for no limit.

        Raises:
            Nothing.
        """
        self._max_per_host = max_per_host
        self._interval_s = 1 / host_rate_per_s if host_rate_per_s else 0.0
        self._line: deque[Host] = deque()
        self._sleeping: list[tuple[float, int, Host]] = []
        self._later: list[tuple[float, int, Job]] = []
        self._order = itertools.count()

    @property
    def has_ready(self) -> bool:
        """A host can start a transfer now. Raises nothing."""
        return bool(self._line)

    def put(self, job: Job, now: float, first: bool = False) -> None:
        """Let a job wait for its host's turn; `first` before all others there. Raises nothing."""
        if first:
            job.host.waiting.appendleft(job)
        else:
            job.host.waiting.append(job)
        self._offer(job.host, now)

    def put_later(self, job: Job, due: float) -> None:
        """Let a job wait for a time; `due_jobs` hands it back. Raises nothing."""
        heapq.heappush(self._later, (due, next(self._order), job))

    def due_jobs(self, now: float) -> list[Job]:
        """Jobs whose time has come; wakes hosts as well. Raises nothing."""
        while self._sleeping and self._sleeping[0][0] <= now:
            host = heapq.heappop(self._sleeping)[2]
            host.wakes_at = 0.0
            self._offer(host, now)
        due = []
        while self._later and self._later[0][0] <= now:
            due.append(heapq.heappop(self._later)[2])
        return [job for job in due if job.where is Where.NEXT_TRY]

    def take(self, now: float) -> Job | None:
        """Take the next job, and its host's turn with it. Raises nothing."""
        while self._line:
            host = self._line.popleft()
            host.is_listed = False
            job = _next_alive(host)
            if job is None:
                continue
            if host.not_before > now:
                self._offer(host, now)
                continue
            host.waiting.popleft()
            host.num_active += 1
            if self._interval_s:
                host.not_before = now + self._interval_s
            self._offer(host, now)
            return job
        return None

    def end_turn(self, host: Host, now: float) -> None:
        """A transfer at a host is over. Raises nothing."""
        host.num_active -= 1
        self._offer(host, now)

    def next_time(self) -> float:
        """When something is due, by the fetcher's clock. Raises nothing."""
        times = [heap[0][0] for heap in (self._sleeping, self._later) if heap]
        return min(times, default=float("inf"))

    def _offer(self, host: Host, now: float) -> None:
        # of a host that was silent, one is enough to see whether it still is
        limit = 1 if host.num_silent else self._max_per_host
        if host.is_listed or not host.waiting or host.num_active >= limit:
            return
        if host.not_before <= now:
            host.is_listed = True
            self._line.append(host)
        elif not host.wakes_at or host.not_before < host.wakes_at:
            host.wakes_at = host.not_before
            heapq.heappush(self._sleeping, (host.not_before, next(self._order), host))


def _next_alive(host: Host) -> Job | None:
    waiting = host.waiting
    while waiting and waiting[0].where is Where.DONE:
        waiting.popleft()
    return waiting[0] if waiting else None
