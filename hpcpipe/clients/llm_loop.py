"""An event loop that a Ctrl-C ends between two of its steps.

Raised in the midst of one, as signals are, it can leave a task that waits for ever for what was
lost, so that closing the loop never ends. Asyncio itself sees to that for Python's own handler of
Ctrl-C only.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, in a loop of its own.

    Args:
        work: the coroutine.

    Returns:
        What it returns.

    Raises:
        KeyboardInterrupt: a signal's handler raised that; the coroutine was cancelled.
        Exception: what it raised.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(work)
        with _noted(lambda: loop.call_soon_threadsafe(task.cancel)) as interrupts:
            try:
                result = loop.run_until_complete(task)
            except asyncio.CancelledError:
                if not interrupts:
                    raise
            else:
                if not interrupts:  # else one came in its last step
                    return result
            raise interrupts[0]


@contextmanager
def _noted(end: Callable[[], object]) -> Iterator[list[KeyboardInterrupt]]:
    """Note what handlers of signals raise, and call `end` then."""
    interrupts: list[KeyboardInterrupt] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {number: one for number, one in found.items() if callable(one)}

    def note(number: int, frame: FrameType | None) -> None:
        try:
            before[number](number, frame)
        except KeyboardInterrupt as error:
            interrupts.append(error)
            end()

    for number in before:
        signal.signal(number, note)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
