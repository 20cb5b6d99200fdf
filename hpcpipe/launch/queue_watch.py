"""Following jobs in SLURM's queue while a command waits for them, and telling why they wait."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection

from hpcpipe.errors import LaunchError
from hpcpipe.launch import squeue

logger = logging.getLogger(__name__)

QUEUE_POLL_S = 10.0


class QueueWatch:
    """Asks SLURM now and then whether anything is left of some jobs."""

    def __init__(self, jobs: Callable[[], Collection[str]], tell: Callable[[str], None]) -> None:
        """Begin to watch.

        Args:
            jobs: gives the job ids, each time that SLURM is asked.
            tell: prints a line.

        Raises:
            Nothing.
        """
        self._jobs = jobs
        self._tell = tell
        self._told: set[str] = set()
        self._next_at = time.monotonic() + QUEUE_POLL_S

    def is_over(self) -> bool:
        """Tell whether nothing of the jobs is queued or running; say why where all are pending.

        Returns:
            True only where SLURM says so: a queue that does not answer proves nothing.

        Raises:
            OSError: the job ids cannot be read.
        """
        if time.monotonic() < self._next_at:
            return False
        try:
            tasks = squeue.tasks_of(self._jobs())
        except LaunchError as error:
            logger.warning("%s; going on", error)
            return False
        finally:
            self._next_at = time.monotonic() + QUEUE_POLL_S
        if tasks and all(task.state == "PENDING" for task in tasks):
            self._tell_why(tasks)
        return not tasks

    def _tell_why(self, tasks: list[squeue.Task]) -> None:
        """Every reason once: some take turns for hours."""
        reasons = Counter(task.reason for task in tasks if task.reason != "None")
        if reasons.keys() - self._told:
            self._told |= reasons.keys()
            why = ", ".join(reason for reason, _ in reasons.most_common())
            self._tell(f"waiting    {len(tasks):,} pending in the queue ({why})")
