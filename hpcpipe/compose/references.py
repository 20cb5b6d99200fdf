"""What the steps of a pipeline refer to: its options, and the output folders of earlier steps.

``${pipeline.KEY}`` and ``${steps.NAME.output}`` are replaced by what was written there, so that a
step is in the end what one would have typed for its stage alone. All other interpolations are
left to the step's own configuration.
"""

import re
from collections.abc import Mapping
from typing import Any

from hpcpipe.config import Config
from hpcpipe.config.convert import MISSING, unknown_key
from hpcpipe.config.stored import escaped
from hpcpipe.errors import ConfigError

_REFERENCE = re.compile(r"(?<!\\)\$\{(pipeline|steps)\.([\w.-]+)\}")
_MAX_DEPTH = 20


class References:
    """What can be referred to so far."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take the pipeline's options; there are no outputs yet.

        Args:
            options: plain values, interpolations as they were written.

        Raises:
            Nothing.
        """
        self._options = options
        self._outputs: dict[str, str] = {}

    def add_step(self, name: str, config: Config) -> None:
        """Let later steps refer to a step's output.

        Args:
            name: the step's name.
            config: its configuration.

        Raises:
            Nothing.
        """
        self._outputs[name] = _output_as_stored(config)

    def put_in(self, value: Any, depth: int = 0) -> Any:
        """Replace the references in plain values.

        Args:
            value: lists, mappings and scalars.
            depth: references that led here.

        Returns:
            The same with values in their places.

        Raises:
            ConfigError: there is nothing of that name, or a value refers to itself.
        """
        if isinstance(value, Mapping):
            return {key: self.put_in(item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.put_in(item, depth) for item in value]
        if not isinstance(value, str):
            return value
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{value} refers to itself, by way of other options")
        if whole := _REFERENCE.fullmatch(value):
            return self.put_in(self._named(whole), depth + 1)
        return _REFERENCE.sub(lambda match: self._text(match, depth), value)

    def _text(self, match: re.Match[str], depth: int) -> str:
        value = self.put_in(self._named(match), depth + 1)
        if isinstance(value, Mapping | list):
            raise ConfigError(f"{match[0]} is no plain value, and cannot be a part of one")
        return "null" if value is None else str(value)

    def _named(self, match: re.Match[str]) -> Any:
        where, path = match[1], match[2]
        if where == "steps":
            return self._output(match[0], path)
        value: Any = self._options
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                problem = unknown_key(path, self._options, "pipeline")
                raise ConfigError(f"{match[0]}: {problem}")
            value = value[key]
        if value == MISSING:
            raise ConfigError(f"pipeline.{path} is required: add pipeline.{path}=VALUE")
        return value

    def _output(self, reference: str, path: str) -> str:
        name, _, key = path.partition(".")
        if key != "output":
            raise ConfigError(
                f"{reference}: of another step only the output is known here: "
                f"${{steps.{name}.output}}"
            )
        if name not in self._outputs:
            known = ", ".join(self._outputs) or "none"
            raise ConfigError(
                f"{reference}: no step above this one is called {name}; above: {known}"
            )
        return self._outputs[name]


def given_by_pipeline(settings: Mapping[str, Any]) -> dict[str, str]:
    """Tell which settings of a step are an option of the pipeline, or begin with one.

    Args:
        settings: the step's settings in the pipeline's file.

    Returns:
        The option (``pipeline.seed``) by setting (``stage.seed``).

    Raises:
        Nothing.
    """
    found = {
        key: _REFERENCE.match(value) for key, value in settings.items() if isinstance(value, str)
    }
    return {key: f"pipeline.{m[2]}" for key, m in found.items() if m and m[1] == "pipeline"}


def _output_as_stored(config: Config) -> str:
    """Output folder of a step as text for another's options: what is the environment's stays so."""
    from omegaconf import OmegaConf

    stored: Any = OmegaConf.to_container(OmegaConf.create(config.text), resolve=False)
    output = stored["stage"]["output"]
    if output is None:
        return str(escaped(config.output))
    return str(output).replace("${run_name}", config.run_name)
