"""Looking at a run again and again, and at SLURM's queue now and then."""

import shutil
import time
from collections.abc import Iterable

import msgspec

from hpcpipe.errors import LaunchError
from hpcpipe.launch import squeue
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.summary import Observer, Overall, Summary

QUEUE_EVERY_S = 10.0
QUEUE_TIMEOUT_S = 10.0
LIVE = ("running", "queued")


class Watcher:
    """Watches one run and what SLURM says of it."""

    def __init__(self, observer: Observer) -> None:
        """Watch a run.

        Args:
            observer: reads the run's manifest.

        Raises:
            Nothing.
        """
        self._observer = observer
        self._queue: dict[str, int] = {}
        self._queue_at = float("-inf")

    def look(self) -> tuple[Summary, dict[str, int]]:
        """Sum the run up.

        Returns:
            The summary, and SLURM's tasks by their state.

        Raises:
            OSError: the run directory cannot be read.
        """
        summary = self._observer.summarize()
        state = self._with_queue(summary.state, summary.launches)
        return msgspec.structs.replace(summary, state=state), self._queue

    def is_live(self) -> bool:
        """Tell whether workers of the run are at work or queued.

        Returns:
            False once nothing will happen any more.

        Raises:
            OSError: the run directory cannot be read.
        """
        state, _ = self._observer.overview()
        return self._with_queue(state, self._observer.run.read_launches()) in LIVE

    def _with_queue(self, state: Overall, launches: Iterable[Launch]) -> Overall:
        if state == "complete":
            self._queue = {}
        elif time.monotonic() - self._queue_at >= QUEUE_EVERY_S:
            self._queue = _ask_queue(launches)
            self._queue_at = time.monotonic()
        return "queued" if self._queue and state == "incomplete" else state


def _ask_queue(launches: Iterable[Launch]) -> dict[str, int]:
    """Tasks by SLURM's state, where SLURM can be asked: the manifest knows the rest."""
    arrays = {launch.array_job: launch.user for launch in launches if launch.array_job}
    if not arrays or shutil.which("squeue") is None:
        return {}
    try:
        return squeue.task_states(arrays, sorted(set(arrays.values())), QUEUE_TIMEOUT_S)
    except LaunchError:
        return {}
