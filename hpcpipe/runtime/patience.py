"""How long a worker puts up with an environment that fails: full disks, filesystems that are gone.

A short outage is waited out, a longer one stops the worker with a reason. What is an error of the
environment is for ``errors`` to say.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from hpcpipe.errors import is_environment_error
from hpcpipe.runtime.events import worded
from hpcpipe.runtime.signals import StopFlag

logger = logging.getLogger(__name__)

MAX_PAUSE_S = 300.0
_POLL_S = 0.1

Result = TypeVar("Result")


class Patience:
    """Counts failures in a row: waits longer after each, and stops the worker after the last."""

    def __init__(self, max_failures: int, backoff_s: float, flag: StopFlag) -> None:
        """Start without failures.

        Args:
            max_failures: failures in a row that stop the worker.
            backoff_s: how long to wait after the first, doubled for each one after.
            flag: stops the worker, and ends every wait.

        Raises:
            Nothing.
        """
        self._max_failures = max_failures
        self._backoff_s = backoff_s
        self._flag = flag
        self._num_failures = 0
        self._failed_at = 0.0

    def worked(self) -> None:
        """Forget the failures so far. Raises nothing."""
        self._num_failures = 0

    def failed(self, error: BaseException, where: str = "") -> None:
        """Take in a failure of the environment: wait, or stop the worker.

        Args:
            error: what happened.
            where: what was done when it happened, for errors that name no file.

        Returns:
            Nothing, at once where the worker was told to stop.

        Raises:
            Nothing.
        """
        reason = worded(error) + (f" ({where})" if where else "")
        now = time.monotonic()
        if now - self._failed_at > 2 * MAX_PAUSE_S:
            self._num_failures = 0
        self._num_failures += 1
        if self._num_failures >= self._max_failures:
            self._flag.stop(f"{self._num_failures} times in a row: {reason}")
            return
        pause_s = min(self._backoff_s * 2.0 ** (self._num_failures - 1), MAX_PAUSE_S)
        logger.warning("waiting for %g s: %s", pause_s, reason)
        while time.monotonic() < now + pause_s and not self._flag.is_set:
            time.sleep(min(_POLL_S, pause_s))
        self._failed_at = time.monotonic()

    def insist(self, call: Callable[[], Result]) -> Result:
        """Try something until it works, or until patience is at its end.

        Args:
            call: may be called several times.

        Returns:
            What it returned.

        Raises:
            OSError: it failed for the last time, and the worker is told to stop; or it failed
                after somebody told it to, or for another reason than the environment's.
        """
        while True:
            try:
                result = call()
            except OSError as error:
                if not is_environment_error(error) or self._flag.is_set:
                    raise
                self.failed(error)
                if self._flag.is_set:
                    raise
            else:
                self.worked()
                return result
