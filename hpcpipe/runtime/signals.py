"""Being told to stop: by a signal, by the run's STOP file, or by Ctrl-C.

Workers that somebody else started only note the signal and act on it between shards (a stage
may look at ``ctx.should_stop`` inside one). A run in the user's own terminal is interrupted at
once: its outputs are staged, so nothing half-done gets a final name.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_RANK = {signal.SIGTERM: 4, signal.SIGINT: 3, signal.SIGHUP: 2, signal.SIGUSR2: 1}
_MAY_BE_IGNORED = frozenset({signal.SIGHUP, signal.SIGINT})
"""Left alone where whoever started this process has it ignore them (``nohup``, a background)."""


class StopFlag:
    """Remembers that a worker was told to stop, and by what."""

    def __init__(self, stop_file: Path) -> None:
        """Start unset.

        Args:
            stop_file: while it exists, no further shard is claimed.

        Raises:
            Nothing.
        """
        self._stop_file = stop_file
        self.signal: signal.Signals | None = None
        self.reason = ""
        self.failed = False

    @property
    def is_set(self) -> bool:
        """Whether a signal came, or the worker cannot go on: stages should come to an end.

        Not so for a STOP file: to drain a run is to finish the shards at hand.
        """
        return self.signal is not None or self.failed

    def stop(self, reason: str) -> None:
        """Stop because the worker cannot go on. Raises nothing."""
        self.failed = True
        self.reason = self.reason or reason

    def no_more_claims(self) -> bool:
        """Whether to claim nothing more: told to stop, or a STOP file. Raises nothing."""
        if self.signal is not None:
            return True
        if not self.reason and os.path.exists(self._stop_file):
            self.reason = f"{self._stop_file.name} file"
        return bool(self.reason)

    @contextmanager
    def handle_signals(self, *, interrupt: bool) -> Iterator[dict[int, Any]]:
        """Handle USR2, TERM, HUP and INT while inside.

        Args:
            interrupt: raise KeyboardInterrupt at once (a run in the user's terminal) instead of
                noting the signal.

        Yields:
            The handlers that were there before, by signal number.

        Raises:
            KeyboardInterrupt: a signal came and `interrupt` is set.
        """
        if threading.current_thread() is not threading.main_thread():
            yield {}
            return

        def note(number: int, frame: FrameType | None) -> None:
            came = signal.Signals(number)
            if self.signal is None or _RANK[came] > _RANK[self.signal]:
                self.signal = came
                self.reason = came.name
            if interrupt:
                raise KeyboardInterrupt

        before: dict[int, Any] = {
            number: signal.signal(number, note)
            for number in _RANK
            if number not in _MAY_BE_IGNORED or signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield dict(before)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
