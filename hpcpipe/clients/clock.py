"""A clock that stands still while the caller is busy with what it was handed."""

import time


class Clock:
    """Seconds since some moment, without those spent outside the fetcher.

    Deadlines are told by it, so that a caller who takes his time makes no transfer late.
    """

    def __init__(self) -> None:
        """Begin to run. Raises nothing."""
        self._away_s = 0.0
        self._left: float | None = None

    def now(self) -> float:
        """Seconds. Raises nothing."""
        return (time.monotonic() if self._left is None else self._left) - self._away_s

    def stop(self) -> None:
        """Stand still. Raises nothing."""
        self._left = time.monotonic()

    def go_on(self) -> None:
        """Run again. Raises nothing."""
        if self._left is not None:
            self._away_s += time.monotonic() - self._left
            self._left = None
