"""When each job is given up."""

import heapq
import itertools
from collections.abc import Iterator

from hpcpipe.clients.job import Job, Where

_FIRST_SWEEP = 1024


class Deadlines:
    """Jobs by the time when their deadline has to be looked at; one live entry for each job."""

    def __init__(self) -> None:
        """Watch nobody. Raises nothing."""
        self._heap: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._sweep_at = _FIRST_SWEEP

    def set(self, job: Job, deadline: float) -> None:
        """Set or move the deadline of a job, by the fetcher's clock. Raises nothing."""
        job.deadline = deadline
        if deadline < job.watched_until:
            self._push(job)

    def expired(self, now: float) -> Iterator[Job]:
        """Take the jobs whose deadline has passed and that are not done. Raises nothing."""
        while self._heap and self._heap[0][0] <= now:
            when, _, job = heapq.heappop(self._heap)
            if when != job.watched_until or job.where is Where.DONE:
                continue
            if job.deadline > now:
                self._push(job)
            else:
                job.watched_until = float("inf")
                yield job

    def next_time(self) -> float:
        """When a deadline has to be looked at. Raises nothing."""
        return self._heap[0][0] if self._heap else float("inf")

    def clear(self) -> None:
        """Mark all jobs as done, and watch nobody. Raises nothing."""
        for _, _, job in self._heap:
            job.where = Where.DONE
        self._heap.clear()

    def _push(self, job: Job) -> None:
        job.watched_until = job.deadline
        heapq.heappush(self._heap, (job.deadline, next(self._order), job))
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].where is not Where.DONE]
            heapq.heapify(self._heap)
            self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._heap))
