"""Whether a model's text encoders read a prompt to its end."""

import copy
from collections.abc import Sequence
from typing import Any


class PromptLength:
    """Counts the tokens of prompts."""

    def __init__(self, pipeline: Any, max_sequence_length: int | None) -> None:
        """Take copies of a pipeline's tokenizers, which only one thread at a time may use.

        Args:
            pipeline: of diffusers.
            max_sequence_length: most tokens, where the pipeline is told; None where it is not.

        Raises:
            Nothing.
        """
        most = max_sequence_length
        self._limits: list[tuple[Any, int]] = []
        for name, part in pipeline.components.items():
            if name.startswith("tokenizer") and part is not None:
                own = part.model_max_length
                limit = own if most is None else min(own, most)
                self._limits.append((copy.deepcopy(part), limit))

    def are_too_long(self, prompts: Sequence[str]) -> list[bool]:
        """Tell which prompts are cut off.

        Args:
            prompts: the texts.

        Returns:
            For each whether every text encoder leaves out its end: of several, one may read more.

        Raises:
            Nothing.
        """
        are_too_long = [bool(self._limits)] * len(prompts)
        for tokenizer, limit in self._limits:
            ids = tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"]
            for index, one in enumerate(ids):
                are_too_long[index] &= len(one) > limit
        return are_too_long
