"""What is to be drawn: prompts, encoded or not, and how pictures are drawn of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How pictures are drawn.

    Attributes:
        steps: denoising steps.
        guidance: guidance scale; 0 for models that are distilled to do without.
        width_px: of a picture.
        height_px: of a picture.
        max_sequence_length: tokens of a prompt, for pipelines that can be told; None: their own.
        negative_prompt: what not to draw; None for nothing.
    """

    steps: int
    guidance: float
    width_px: int
    height_px: int
    max_sequence_length: int | None
    negative_prompt: str | None


@dataclass(frozen=True)
class Encoded:
    """Prompts, and what the pipeline's text encoders made of them. Slices are such, too.

    Attributes:
        prompts: the texts.
        is_cut: for each whether the model does not read its end.
        tensors: what stands for them, by argument; empty where they are encoded when drawn.
        is_ready: an event of CUDA after which the tensors may be read; None on the CPU.
    """

    prompts: Sequence[str]
    is_cut: Sequence[bool]
    tensors: dict[str, Any]
    is_ready: Any

    def __len__(self) -> int:
        """Number of prompts. Raises nothing."""
        return len(self.prompts)

    def __getitem__(self, part: slice) -> "Encoded":
        """Give some of them. Raises nothing."""
        tensors = {name: tensor[part] for name, tensor in self.tensors.items()}
        return Encoded(self.prompts[part], self.is_cut[part], tensors, self.is_ready)

    def padded(self, size: int) -> "Encoded":
        """Repeat the last prompt up to a number of prompts. Raises nothing."""
        missing = size - len(self)
        if missing <= 0:
            return self
        rows = [*range(len(self)), *[len(self) - 1] * missing]
        prompts, is_cut = ([column[row] for row in rows] for column in (self.prompts, self.is_cut))
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return Encoded(prompts, is_cut, tensors, self.is_ready)
