"""Work done ahead in threads while somebody else uses the results, which come in order.

Decoding for a model that is busy, and writing what it made, are both this: ``ordered_map(decode,
files)`` is read by the model, and ``ordered_map(encode, results_of_the_model)`` by the writer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], threads: Executor, ahead: int
) -> Iterator[R]:
    """Apply a function to items in threads; results come in the items' order.

    Args:
        function: is called in the threads.
        items: are taken in the caller's thread, `ahead` of what it has been given.
        threads: the pool; one may serve several calls.
        ahead: how many results, at most, are made or waited for before the first is taken.

    Yields:
        What the function gave, item by item.

    Raises:
        Exception: what the function or `items` raised, in the place of that item's result.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            # one for each that is begun: whoever uses it for long finds the next ones made
            if len(waiting) > ahead or waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
