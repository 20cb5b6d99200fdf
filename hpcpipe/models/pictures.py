"""Pictures on their way from a model's device to the machine's memory.

The copy runs beside the next batch: whoever wants the pixels waits for them, the model does not.
"""

from collections.abc import Sequence
from typing import Any, Literal

Failure = Literal["unsafe", "not_finite", "black"]
"""Why a picture is none: the model's safety checker took it out, or the model gave no image."""

_FINE, _NOT_FINITE, _BLACK = range(3)
_FAILURES: dict[int, Failure] = {_NOT_FINITE: "not_finite", _BLACK: "black"}


class Picture:
    """One picture that a model was told to draw; it may still be drawing."""

    def __init__(self, batch: "_Batch", index: int, is_unsafe: bool) -> None:
        """Stand for one of a batch. Raises nothing."""
        self._batch = batch
        self._index = index
        self._is_unsafe = is_unsafe

    def failure(self) -> Failure | None:
        """Wait for it, and tell why it is none; None where it is one. Raises RuntimeError."""
        if self._is_unsafe:
            return "unsafe"
        self._batch.wait()
        return _FAILURES.get(int(self._batch.verdicts[self._index]))

    def pixels(self) -> Any:
        """Wait for it, and give it as ``uint8 (H, W, 3)`` RGB, a numpy array.

        Raises:
            RuntimeError: the GPU failed.
        """
        self._batch.wait()
        return self._batch.pixels[self._index]


def pictures(images: Any, is_unsafe: Sequence[bool]) -> list[Picture]:
    """Take a batch off its device.

    Args:
        images: tensor ``float (N, 3, H, W)`` RGB from 0 to 1, on any device.
        is_unsafe: for each whether the model's safety checker refused it.

    Returns:
        One picture each, in order, at once.

    Raises:
        RuntimeError: memory ran out, or the GPU failed.
    """
    import torch

    pixels = (images.float() * 255).round().to(torch.uint8)
    verdicts = torch.where(pixels.flatten(1).amax(1) == 0, _BLACK, _FINE)
    verdicts = verdicts.masked_fill(~images.flatten(1).isfinite().all(1), _NOT_FINITE)
    batch = _Batch(pixels.permute(0, 2, 3, 1).contiguous(), verdicts)
    return [Picture(batch, index, unsafe) for index, unsafe in enumerate(is_unsafe)]


class _Batch:
    """The pixels of a batch and what is said of them, being copied."""

    def __init__(self, pixels: Any, verdicts: Any) -> None:
        self._copied: Any = None
        if pixels.device.type != "cuda":
            self.pixels, self.verdicts = pixels.cpu().numpy(), verdicts.cpu().numpy()
            return
        import torch

        self.pixels, self.verdicts = _start_copy(pixels), _start_copy(verdicts)
        self._copied = torch.cuda.Event(blocking=True)  # waits without using up a core
        self._copied.record(torch.cuda.current_stream(pixels.device))

    def wait(self) -> None:
        if self._copied is not None:
            self._copied.synchronize()


def _start_copy(tensor: Any) -> Any:
    import torch

    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    return copy.numpy()
