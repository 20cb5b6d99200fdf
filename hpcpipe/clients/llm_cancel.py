"""Ending what is still asked: tasks cancelled, and nothing of them left behind."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def cancel(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks, and wait until they have ended, in whatever way.

    Args:
        tasks: running or ended ones; they may take themselves out of a collection meanwhile.

    Raises:
        Nothing.
    """
    all_of_them = list(tasks)
    for task in all_of_them:
        task.cancel()
    await asyncio.gather(*all_of_them, return_exceptions=True)
