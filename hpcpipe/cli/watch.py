"""Looking at a run again and again, and at SLURM's queue now and then."""

import time
from collections import Counter
from typing import NamedTuple

import msgspec

from hpcpipe.launch.not_started import NotStarted, find_not_started, submitted
from hpcpipe.launch.squeue import Task, queued_tasks
from hpcpipe.runtime.summary import Observer, Overall, Summary

QUEUE_EVERY_S = 10.0
QUEUE_TIMEOUT_S = 10.0
LIVE = ("running", "queued")


class Queue(NamedTuple):
    """What SLURM says of a run.

    Attributes:
        states: tasks by their state; empty where SLURM was not asked or does not answer.
        reasons: pending tasks by the reason that SLURM gives.
        not_started: workers that have never begun.
    """

    states: dict[str, int]
    reasons: dict[str, int]
    not_started: list[NotStarted]


NO_QUEUE = Queue({}, {}, [])


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
        self._queue = NO_QUEUE
        self._queue_at = float("-inf")

    def look(self) -> tuple[Summary, Queue]:
        """Sum the run up.

        Returns:
            The summary, and what SLURM says.

        Raises:
            OSError: the run directory cannot be read.
        """
        summary = self._observer.summarize()
        state = self._with_queue(summary.state)
        return msgspec.structs.replace(summary, state=state), self._queue

    def not_started(self) -> list[NotStarted]:
        """Find workers that have never begun.

        Returns:
            One record a launch that lacks workers.

        Raises:
            OSError: the run directory cannot be read.
        """
        return self._asked().not_started

    def is_live(self) -> bool:
        """Tell whether workers of the run are at work or queued.

        Returns:
            False once nothing will happen any more.

        Raises:
            OSError: the run directory cannot be read.
        """
        state, _ = self._observer.overview()
        return self._with_queue(state) in LIVE

    def _with_queue(self, state: Overall) -> Overall:
        if state == "complete":
            self._queue, self._queue_at = NO_QUEUE, float("-inf")
            return state
        return "queued" if self._asked().states and state == "incomplete" else state

    def _asked(self) -> Queue:
        if time.monotonic() - self._queue_at >= QUEUE_EVERY_S:
            self._queue = self._ask()
            self._queue_at = time.monotonic()
        return self._queue

    def _ask(self) -> Queue:
        run = self._observer.run
        launches = submitted(run)
        tasks = queued_tasks(launches, QUEUE_TIMEOUT_S)
        not_started = find_not_started(run, launches, tasks)
        states = dict(Counter(task.state for task in tasks or ()))
        return Queue(states, _pending_reasons(tasks or []), not_started)


def _pending_reasons(tasks: list[Task]) -> dict[str, int]:
    reasons = [task.reason for task in tasks if task.state == "PENDING" and task.reason != "None"]
    return dict(Counter(reasons).most_common())
