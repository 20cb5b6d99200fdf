"""The device a model runs on: CPU or GPU, its number type, its threads, checked by using them.

What is missing shows up when a worker sets up, as one message that says what to do, and not as a
traceback from the middle of a shard.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from hpcpipe.errors import ConfigError, SetupError, missing_extra

logger = logging.getLogger(__name__)

Dtype = Literal["bfloat16", "float16", "float32"]
"""The number types that models are loaded in."""

_BFLOAT16_CAPABILITY = 8
_FAILED = ("CUDA error", "HIP error")
"""What torch says where a GPU, NVIDIA's or AMD's, does not come back."""


def check_dtype(name: str) -> None:
    """Check the name of a number type.

    Args:
        name: the value of ``stage.dtype``.

    Returns:
        Nothing.

    Raises:
        ConfigError: there is no such type.
    """
    if name not in get_args(Dtype):
        raise ConfigError(f"stage.dtype={name}: must be one of {', '.join(get_args(Dtype))}")


def open_device(name: str, dtype: Dtype, num_threads: int) -> Any:
    """Make a device ready, and make sure that it can calculate.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``, as `WorkerContext.device` says.
        dtype: the number type models will have on it.
        num_threads: of torch on the CPU.

    Returns:
        The ``torch.device``.

    Raises:
        SetupError: torch is not installed, sees no GPU, or the device cannot use the type.
    """
    try:
        import torch
    except ImportError as error:
        raise missing_extra("torch", "generate", "running models") from error
    torch.set_num_threads(max(1, num_threads))
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device, dtype)
    try:
        _try_out(device, torch_dtype(dtype))
    except RuntimeError as error:
        raise SetupError(
            f"{describe(device)} cannot calculate in {dtype}: {_first_line(error)}. "
            "Take another stage.dtype or partition, or the torch that is built for this one"
        ) from error
    logger.info("models run on %s in %s", describe(device), dtype)
    return device


def torch_dtype(name: Dtype) -> Any:
    """Look up torch's object for a number type. Raises AttributeError for other names."""
    import torch

    return getattr(torch, name)


@contextmanager
def gpu_failures(device: Any) -> Iterator[None]:
    """Tell a GPU that failed from a shard that did.

    Args:
        device: what models run on.

    Yields:
        Nothing.

    Raises:
        SetupError: it failed in a way that it does not come back from in this process.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _FAILED):
            raise
        raise SetupError(f"{device} failed, and this worker ends: {_first_line(error)}") from error


def describe(device: Any) -> str:
    """Name a device for people: ``NVIDIA H100 (cuda:0)``, or ``the CPU``. Raises nothing."""
    import torch

    if device.type != "cuda":
        return "the CPU"
    return f"{torch.cuda.get_device_name(device)} ({device})"


def _check_cuda(device: Any, dtype: Dtype) -> None:
    """Start CUDA up. Raises SetupError where there is none, or not this type."""
    import torch

    try:
        torch.cuda.init()
        if device.index is not None:
            torch.cuda.set_device(device)  # else pinned memory takes room on the first GPU, too
        major, minor = torch.cuda.get_device_capability(device)
    except (RuntimeError, AssertionError) as error:
        built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
        raise SetupError(
            f"this worker is to use a GPU (resources.gpus), and torch {torch.__version__}, built "
            f"for {built_for}, cannot: {_first_line(error)}. Install the torch that fits the "
            "driver (nvidia-smi names its CUDA version), or use the CPU with resources.gpus=0"
        ) from error
    if dtype == "bfloat16" and major < _BFLOAT16_CAPABILITY:
        raise SetupError(
            f"{describe(device)} has compute capability {major}.{minor}, and bfloat16 needs 8.0: "
            "use stage.dtype=float16"
        )


def _try_out(device: Any, dtype: Any) -> None:
    """Use the operations that models consist of. Raises RuntimeError."""
    import torch
    from torch.nn import functional

    with torch.inference_mode():
        image = torch.ones(1, 4, 8, 8, device=device, dtype=dtype)
        made = functional.conv2d(image, torch.ones(4, 4, 3, 3, device=device, dtype=dtype))
        rows = functional.group_norm(made, 2).flatten(2)
        functional.scaled_dot_product_attention(rows, rows, rows).sum().item()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
