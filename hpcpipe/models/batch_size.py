"""Batches as large as memory allows: halved where it runs out, and kept so.

How much memory a batch takes depends on model, image size and GPU; instead of estimating it, the
size that was asked for is tried, and what fits is remembered for the worker's life.
"""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from hpcpipe.errors import SetupError, causes

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_SIGNS = (
    "out of memory",
    "defaultcpuallocator: can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cublas_status_not_initialized",  # what cuBLAS says where its workspace does not fit
)


class BatchSize:
    """How many items a model takes at once.

    Attributes:
        size: the number, which becomes smaller where memory runs out.
        on_smaller: is told so in one line.
    """

    def __init__(
        self,
        size: int,
        advice: str,
        on_smaller: Callable[[str], None] | None = None,
        *,
        fills_up: bool = False,
    ) -> None:
        """Begin with what was asked for.

        Args:
            size: items in a batch, 1 or more.
            advice: what to do where not even one item fits, completing "...: ".
            on_smaller: is told in one line when the size becomes smaller.
            fills_up: the function makes `least` of shorter batches, as compiled models need it.

        Raises:
            Nothing.
        """
        self.size = size
        self.on_smaller = on_smaller
        self._advice = advice
        self._fills_up = fills_up

    @property
    def least(self) -> int:
        """What shorter batches are filled up to; 1 where they are not. Raises nothing."""
        return self.size if self._fills_up else 1

    def run(self, items: Sequence[T], function: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """Apply a function to items, batch by batch.

        Args:
            items: what it is applied to; anything that can be sliced.
            function: gives one result for each item of a batch.

        Returns:
            The results, in the items' order.

        Raises:
            SetupError: a single item takes more memory than there is.
            Exception: what else the function raised.
        """
        results: list[R] = []
        while len(results) < len(items):
            least = self.least
            batch = items[len(results) : len(results) + self.size]
            reason = ""
            try:
                results += function(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # What the batch has allocated hangs on the error: it goes with this block.
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
            if reason:
                self._make_smaller(max(len(batch), least), reason)
        return results

    def _make_smaller(self, num_tried: int, reason: str) -> None:
        release_memory()
        if num_tried == 1:
            raise SetupError(f"memory does not hold a batch of one: {self._advice} ({reason})")
        if num_tried // 2 < self.size:  # else another thread was quicker
            self.size = num_tried // 2
            line = f"memory does not hold a batch of {num_tried}: going on with {self.size}"
            logger.warning("%s (%s)", line, reason)
            if self.on_smaller is not None:
                self.on_smaller(line)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, the GPU's or the machine's.

    Args:
        error: any exception; its causes are looked at too.

    Returns:
        True for torch's own error, for those it passes on from its allocators, cuBLAS and cuDNN,
        and for MemoryError.

    Raises:
        Nothing.
    """
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, RuntimeError) and any(sign in str(one).lower() for sign in _SIGNS))
        for one in causes(error)
    )


def release_memory() -> None:
    """Give back what torch keeps for later batches. Raises nothing."""
    gc.collect()
    # not every model is one of torch, and then it need not be installed
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
