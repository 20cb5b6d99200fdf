"""From a caption to what the model is sent: the template, filled in with caption and choices."""

import hashlib
from collections.abc import Mapping, Sequence
from string import Formatter

from hpcpipe.errors import ConfigError

CAPTION = "caption"


class Template:
    """A template. Braces in captions and choices mean nothing.

    Attributes:
        choices: what is drawn from, for each name that the template has.
    """

    def __init__(self, template: str, choices: Mapping[str, Sequence[str]], seed: int) -> None:
        """Take a template apart.

        Args:
            template: with ``{caption}`` and names of choices; ``{{`` and ``}}`` are braces.
            choices: for each name what is drawn from.
            seed: of what is drawn.

        Raises:
            ConfigError: it has other names or none, or nothing can be drawn for one.
        """
        try:
            self._parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ConfigError(
                f"stage.template: {error}: {template!r} (a brace itself is written twice)"
            ) from error
        named = [name for _, name, _, _ in self._parts if name is not None]
        known = {CAPTION, *choices}
        for _, name, form, conversion in self._parts:
            if name is not None and (form or conversion or name not in known):
                raise ConfigError(
                    f"stage.template: {{{name}}} is to be one of {', '.join(sorted(known))} and "
                    "nothing else; choices are given in stage.choices, and a brace itself is "
                    "written twice"
                )
        if CAPTION not in named:
            raise ConfigError(f"stage.template has no {{{CAPTION}}}: {template!r}")
        self.choices = {name: list(choices[name]) for name in named if name != CAPTION}
        if CAPTION in choices:
            raise ConfigError(f"stage.choices.{CAPTION}: the caption's own name; choose another")
        for name, values in self.choices.items():
            if not values:
                raise ConfigError(f"stage.choices.{name} is empty: there is nothing to draw from")
        self._seed = seed

    def draw(self, key: str) -> dict[str, str]:
        """Draw one of each choice: for one key and seed always the same. Raises nothing."""
        return {
            name: values[_number(self._seed, name, key) % len(values)]
            for name, values in self.choices.items()
        }

    def fill_in(self, caption: str, drawn: Mapping[str, str]) -> str:
        """Put a caption and what was drawn in their places. Raises nothing."""
        values = {**drawn, CAPTION: caption}
        return "".join(
            text + (values[name] if name is not None else "") for text, name, _, _ in self._parts
        )

    def sampling_seed(self, key: str) -> int:
        """Seed of the model's sampling for one sample, 0 to 2**30 - 1. Raises nothing."""
        return _number(self._seed, "", key) % (1 << 30)


def _number(seed: int, name: str, key: str) -> int:
    text = f"{seed}\0{name}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
