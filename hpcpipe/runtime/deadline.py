"""The end of the batch job a worker is: what still fits before it, and what was given a whole job.

A worker that begins a shard it cannot finish is ended by the scheduler in the middle of it, and is
not queued again. So it stops claiming in time and asks to be queued again itself. How the time left
is found out, and who is asked, is the launcher's business (`Job`).
"""

import time
from collections.abc import Callable
from typing import NamedTuple

MARGIN = 1.5
"""A shard fits where this many times the slowest one so far does."""
LAST_MINUTES_S = 240.0
"""The limit's warning comes in these: it is asked for 2 minutes before, and may be 1 early."""


class Job(NamedTuple):
    """The batch job that a worker is.

    Attributes:
        left_s: seconds until the scheduler ends it, from when this was made; None where it never
            does, or that is not known.
        queue_again: asks the scheduler to run it again after its end; gives the refusal in the
            scheduler's words, "" where there is none.
        avoid: asks the scheduler to start no other job of the array on these nodes.
        is_alone: no other worker shares the job.
    """

    left_s: float | None
    queue_again: Callable[[], str]
    avoid: Callable[[list[str]], None]
    is_alone: bool


class Deadline:
    """How a worker's time stands.

    Attributes:
        job: the worker's batch job; None where it is none.
        num_attempts: attempts begun.
    """

    def __init__(self, job: Job | None) -> None:
        """Begin to count.

        Args:
            job: the worker's batch job, if any.

        Raises:
            Nothing.
        """
        self.job = job
        self.num_attempts = 0
        self._began_at = time.monotonic()
        self._total_s = job.left_s if job else None
        self._slowest_s: float | None = None

    def begin(self) -> None:
        """Count an attempt. Raises nothing."""
        self.num_attempts += 1

    def end(self, seconds: float) -> None:
        """Take in how long an attempt took. Raises nothing."""
        self._slowest_s = max(self._slowest_s or 0.0, seconds)

    def too_near(self) -> str:
        """Say why no other shard is begun, once there is no time for one.

        Returns:
            The reason; "" while there is time, and before the first attempt, since a job that
            does nothing would be queued again for ever.

        Raises:
            Nothing.
        """
        left_s = self._left_s()
        if left_s is None or self._slowest_s is None or left_s >= MARGIN * self._slowest_s:
            return ""
        return (
            f"{max(left_s, 0):.0f} s of the job are left, and a shard took up to "
            f"{self._slowest_s:.0f} s"
        )

    def was_whole_job(self) -> bool:
        """Tell whether the only thing done in this job so far was given all of its time.

        Returns:
            False after a second attempt, and where the scheduler's warning did not come for the
            time limit: somebody sent it in the middle of the job.

        Raises:
            Nothing.
        """
        left_s = self._left_s()
        if left_s is None or self._total_s is None or self.num_attempts > 1:
            return False
        return left_s <= max(LAST_MINUTES_S, self._total_s / 2)

    def is_over(self, in_s: float) -> bool:
        """Tell whether the job ends within some seconds. Raises nothing."""
        left_s = self._left_s()
        return left_s is not None and left_s <= in_s

    def _left_s(self) -> float | None:
        if self._total_s is None:
            return None
        return self._total_s - (time.monotonic() - self._began_at)
