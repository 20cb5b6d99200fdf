"""A progress bar over a run's shards: rate, time left, failures."""

import sys
import time
from types import TracebackType
from typing import Any

from hpcpipe.console import visible
from hpcpipe.manifest.journal import FINALIZE, Brief
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.workers import read_workers

LOOK_EVERY_S = 10.0
WARNING = "warning: "
"""How a worker's remark begins that whoever follows the run has to see."""


class Progress:
    """Shows how far a run is, from its events; silent where standard error is no terminal."""

    def __init__(self, state: RunState, limit: int | None) -> None:
        """Draw the bar.

        Args:
            state: the run's state now.
            limit: only so many shards from the plan's start are worked on.

        Raises:
            Nothing.
        """
        from tqdm import tqdm

        ids = state.plan.ids[:limit]
        self._state = state
        self._done = {shard_id for shard_id in ids if state.is_done(shard_id)}
        self._num_failures = 0
        self._next_look: float | None = 0.0
        self._bar: Any = tqdm(
            total=len(ids),
            initial=len(self._done),
            unit="shard",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def event(self, event: Brief) -> None:
        """Take in one event.

        Args:
            event: from any journal.

        Raises:
            Nothing.
        """
        if event.event == "done" and event.shard not in self._done and event.shard != FINALIZE:
            self._done.add(event.shard)
            self._bar.update()
        elif event.event == "failed":
            self._num_failures += 1
            self._bar.set_postfix_str(f"{self._num_failures} failed, last: {event.shard}")
            self.tell(f"shard {event.shard} failed: {_error(event)}")

    def look(self, run: RunDir, lease_s: float) -> None:
        """Show the first warning that a worker remarks, but look only now and then.

        Args:
            run: the run.
            lease_s: workers that are silent for longer are not at work.

        Returns:
            Nothing.

        Raises:
            OSError: a worker's file cannot be read, or standard error is closed.
        """
        now = time.monotonic()
        if self._next_look is None or now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        for view in read_workers(run, lease_s):
            if view.state == "running" and view.beat.remark.startswith(WARNING):
                self.tell(f"{view.beat.remark} ({view.identity.label})")
                self._next_look = None
                return

    def tell(self, line: str) -> None:
        """Print a line above the bar. Raises OSError where standard error is closed."""
        self._bar.write(visible(line), file=sys.stderr)


def _error(event: Brief) -> str:
    """Class and message; some exceptions have no message."""
    name = event.error_class
    return name if event.error in ("", name) else f"{name}: {event.error}"
