"""Loading a text-to-image pipeline, and drawing one picture to see that it can.

Everything that makes a model unfit shows up here, before any shard is taken: a folder that is
something else, damaged weights, a number type it draws nothing in, too little memory.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from hpcpipe.errors import SetupError, missing_extra
from hpcpipe.models.batch_size import is_out_of_memory
from hpcpipe.models.device import Dtype, describe, torch_dtype
from hpcpipe.models.diffusion import Diffusion
from hpcpipe.models.hub import FoundModel
from hpcpipe.models.pictures import Picture
from hpcpipe.models.prompts import Drawing

logger = logging.getLogger(__name__)

NO_ROOM = "take a smaller stage.width_px and stage.height_px, or a larger GPU"
"""What to do where memory does not hold a batch of one."""

TRIAL = "a photo of a house"

_MAX_COMPILED = 64
"""Versions of a block: some for each size of batch. Beyond torch's own limit of 8 a block is
no more compiled, and only a log tells."""


def load(found: FoundModel, name: str, drawing: Drawing, device: Any, dtype: Dtype) -> Diffusion:
    """Load a pipeline from its folder; never from the network, and no pickles.

    Args:
        found: where it lies.
        name: what the user calls it, for messages.
        drawing: how pictures are drawn.
        device: a ``torch.device`` that `models.device.open_device` gave.
        dtype: number type of its weights.

    Returns:
        The pipeline on its device.

    Raises:
        SetupError: diffusers is missing, the model is none for this, damaged or too large.
    """
    try:
        _be_quiet()
        from diffusers import AutoPipelineForText2Image
    except ImportError as error:
        raise missing_extra("diffusers", "generate", "generating images") from error
    started = time.monotonic()
    try:
        pipeline = AutoPipelineForText2Image.from_pretrained(
            str(found.path), dtype=torch_dtype(dtype), local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # of many types: the model's files decide which
        raise SetupError(
            f"model {name} in {found.path} cannot be loaded as a text-to-image pipeline: "
            f"{_one_line(error)}"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    try:
        pipeline.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise SetupError(
            f"{describe(device)} has no room for model {name} in {dtype}: {_one_line(error)}. "
            "Take a larger GPU or a smaller model"
        ) from error
    seconds = time.monotonic() - started
    logger.info("model %s (%s) loaded in %.0f s", name, type(pipeline).__name__, seconds)
    return Diffusion(pipeline, drawing, device)


def compile_blocks(diffusion: Diffusion) -> None:
    """Have the model compiled when it first draws; each size of batch is compiled anew.

    Args:
        diffusion: the pipeline.

    Returns:
        Nothing.

    Raises:
        SetupError: the pipeline has no part that is known to gain by it.
    """
    part = diffusion.denoiser
    if part is None:
        raise SetupError("this model cannot be compiled: leave out stage.compile")
    import torch._dynamo

    torch._dynamo.config.recompile_limit = _MAX_COMPILED
    logger.info("the first batch is slow: the model is compiled, which takes minutes")
    try:
        part.compile_repeated_blocks(dynamic=False)  # its layers are alike: one is compiled
    except ValueError:  # the class names no such layers
        part.compile(dynamic=False)


def try_out(diffusion: Diffusion, prompts: Sequence[str]) -> list[Picture]:
    """Draw something, as all will be drawn.

    Args:
        diffusion: the pipeline.
        prompts: what to draw; `TRIAL` serves.

    Returns:
        The pictures.

    Raises:
        SetupError: nothing comes of it, or something of another size.
        RuntimeError: memory does not hold so many, as `is_out_of_memory` tells.
    """
    drawing = diffusion.drawing
    try:
        drawn = diffusion.draw(diffusion.encode(prompts), range(len(prompts)))
        failure, pixels = drawn[0].failure(), drawn[0].pixels()
    except Exception as error:  # of many types: pipelines check what they are told in their ways
        if is_out_of_memory(error):
            raise
        raise SetupError(f"the model cannot draw with these options: {_one_line(error)}") from error
    if failure == "not_finite":
        raise SetupError(
            "the model draws nothing but NaN; many do in float16: use stage.dtype=bfloat16"
        )
    height_px, width_px, _ = pixels.shape
    if (width_px, height_px) != (drawing.width_px, drawing.height_px):
        raise SetupError(
            f"the model draws {width_px}x{height_px} pixels where stage.width_px and "
            f"stage.height_px say {drawing.width_px}x{drawing.height_px}: give a size it can draw"
        )
    return drawn


def _be_quiet() -> None:
    """Keep progress bars and advice for programmers out of a worker's log."""
    import transformers.utils.logging

    transformers.utils.logging.set_verbosity_error()  # first: others import it, and it speaks then
    transformers.utils.logging.disable_progress_bar()
    import diffusers.utils.logging

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500].rstrip(".")
