"""Any text-to-image pipeline of diffusers: loaded, told what to draw, kept from waiting.

Prompts are encoded ahead where the pipeline's class is known to take them encoded, and pictures
leave the device while the next batch is drawn. What is written of them is the caller's.
"""

import inspect
import logging
from collections.abc import Sequence
from typing import Any

from hpcpipe.errors import SetupError
from hpcpipe.models.batch_size import is_out_of_memory
from hpcpipe.models.pictures import Picture, pictures
from hpcpipe.models.prompt_length import PromptLength
from hpcpipe.models.prompts import Drawing, Encoded
from hpcpipe.models.seeds import generators

logger = logging.getLogger(__name__)

_ENCODED = {
    "FluxPipeline": ("prompt_embeds", "pooled_prompt_embeds"),
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    "StableDiffusion3Pipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
}
"""What ``encode_prompt`` of a class gives, in its order, by the names that its call takes."""

MAX_PROMPT_CHARS = 20_000
"""No text encoder reads so much, and tokenizers take seconds for a hundred kilobytes."""


class Diffusion:
    """A loaded pipeline.

    `encode` may be called in one thread while `draw` runs in another.

    Attributes:
        drawing: how pictures are drawn.
    """

    def __init__(self, pipeline: Any, drawing: Drawing, device: Any) -> None:
        """Take a pipeline that lies on its device; `load` makes one.

        Args:
            pipeline: of diffusers.
            drawing: how pictures are drawn.
            device: where it lies.

        Raises:
            SetupError: the pipeline cannot do what is asked.
        """
        self.drawing = drawing
        self._pipeline = pipeline
        self._device = device
        self._takes = inspect.signature(pipeline.__call__).parameters
        self._encoded_names = _ENCODED.get(type(pipeline).__name__, ())
        self._stream = _stream(device)
        self._vae = pipeline.components.get("vae")
        self._vae_dtype = None if self._vae is None else self._vae.dtype
        is_told = "max_sequence_length" in self._takes
        self._length = PromptLength(pipeline, drawing.max_sequence_length if is_told else None)
        self._check_negative_prompt()

    @property
    def denoiser(self) -> Any:
        """The part that takes nearly all of the time; None where its name is not known."""
        parts = self._pipeline.components
        return parts.get("transformer") or parts.get("unet")

    def encode(self, prompts: Sequence[str]) -> Encoded:
        """Run the text encoders, beside what is drawn.

        Args:
            prompts: the texts.

        Returns:
            What `draw` takes. Where the pipeline's way is not known, or memory does not hold it
            beside the batch that is drawn, the texts as they are.

        Raises:
            RuntimeError: the device failed.
        """
        import torch

        cut = [prompt[:MAX_PROMPT_CHARS] for prompt in prompts]
        is_cut = self._length.are_too_long(cut)
        is_cut = [a or len(b) > MAX_PROMPT_CHARS for a, b in zip(is_cut, prompts, strict=True)]
        prompts = cut
        if not self._encoded_names:
            return Encoded(prompts, is_cut, {}, None)
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                made = self._encode_prompt(list(prompts))
                named = zip(self._encoded_names, made, strict=False)
                tensors = {name: tensor for name, tensor in named if tensor is not None}
                return Encoded(prompts, is_cut, tensors, _event(self._stream))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        logger.warning(
            "memory does not hold prompts beside a batch: they are no more encoded ahead"
        )
        self._encoded_names = ()
        return Encoded(prompts, is_cut, {}, None)

    def draw(self, encoded: Encoded, seeds: Sequence[int], least: int = 1) -> list[Picture]:
        """Draw a batch.

        Args:
            encoded: what `encode` gave, or a part of it.
            seeds: of its prompts.
            least: pictures that are drawn at once at least; those beyond the seeds are thrown away.

        Returns:
            A picture for each seed; on a GPU they are still being drawn.

        Raises:
            RuntimeError: memory ran out, or the device failed.
        """
        import torch

        self._put_vae_back()
        more = [seeds[-1]] * (least - len(seeds))
        with torch.inference_mode():
            if encoded.is_ready is not None:
                torch.cuda.current_stream(self._device).wait_event(encoded.is_ready)
            for tensor in encoded.tensors.values():
                if tensor.is_cuda:  # made on another stream: not to be reused before it was read
                    tensor.record_stream(torch.cuda.current_stream(self._device))
            encoded = encoded.padded(least)  # reads the tensors, so not before they are ready
            output = self._pipeline(
                **self._call(encoded),
                generator=generators([*seeds, *more]),
                output_type="pt",
            )
            flags = getattr(output, "nsfw_content_detected", None) or [False] * len(encoded)
            return pictures(output.images[: len(seeds)], flags[: len(seeds)])

    def _put_vae_back(self) -> None:
        """SDXL decodes in float32 what overflows in float16, and stays so where memory runs out."""
        if self._vae is not None and self._vae.dtype != self._vae_dtype:
            self._vae.to(dtype=self._vae_dtype)

    def _encode_prompt(self, prompts: list[str]) -> Any:
        """Call the pipeline's method with what this one takes of what such methods do."""
        method = self._pipeline.encode_prompt
        negative = self.drawing.negative_prompt
        given = {
            "prompt_2": None,
            "prompt_3": None,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": self.drawing.guidance > 1,
            "negative_prompt": None if negative is None else [negative] * len(prompts),
        }
        taken = inspect.signature(method).parameters
        chosen = {name: value for name, value in given.items() if name in taken}
        return method(prompt=prompts, device=self._device, **self._taken_by(method), **chosen)

    def _call(self, encoded: Encoded) -> dict[str, Any]:
        """The arguments of the pipeline's call, but for noise and form of output."""
        if encoded.tensors:
            return {**self._taken_by(self._pipeline.__call__), **encoded.tensors}
        negative = self.drawing.negative_prompt
        given = {} if negative is None else {"negative_prompt": [negative] * len(encoded)}
        return {
            **self._taken_by(self._pipeline.__call__),
            "prompt": list(encoded.prompts),
            **given,
        }

    def _taken_by(self, function: Any) -> dict[str, Any]:
        """What of the options a function of the pipeline takes."""
        drawing = self.drawing
        given = {
            "num_inference_steps": drawing.steps,
            "guidance_scale": drawing.guidance,
            "height": drawing.height_px,
            "width": drawing.width_px,
            "max_sequence_length": drawing.max_sequence_length,
        }
        taken = inspect.signature(function).parameters
        return {k: value for k, value in given.items() if k in taken and value is not None}

    def _check_negative_prompt(self) -> None:
        """Refuse one that would do nothing. Raises SetupError."""
        if self.drawing.negative_prompt is None:
            return
        # Beside guidance_scale, some have a scale of their own for it, which may be off.
        own_scale = self._takes.get("true_cfg_scale")
        is_off = own_scale is not None and own_scale.default <= 1
        if "negative_prompt" not in self._takes or is_off:
            name = type(self._pipeline).__name__
            raise SetupError(f"stage.negative_prompt does nothing with {name}: leave it out")
        if own_scale is None and self.drawing.guidance <= 1:
            raise SetupError(
                "stage.negative_prompt does nothing where stage.guidance is 1 or less: leave it out"
            )


def _stream(device: Any) -> Any:
    import torch

    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _event(stream: Any) -> Any:
    return None if stream is None else stream.record_event()
