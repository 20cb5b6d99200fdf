"""A pipeline's configuration: its steps in order, each the configuration of a normal run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hpcpipe.config.config import Config


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One step of a pipeline.

    Attributes:
        name: its name in the pipeline.
        config: the configuration of its run, the same as if the step were run alone.
        needs: names of the earlier steps whose output it reads.
    """

    name: str
    config: Config
    needs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A whole pipeline, checked.

    Attributes:
        name: what the user called it (``pipeline=NAME``).
        fingerprint: 16 hex digits over the names and fingerprints of its steps.
        path: absolute path of the pipeline directory.
        steps: the steps in order; each comes after those it needs.
        wait: follow the pipeline to its end once it is submitted.
    """

    name: str
    fingerprint: str
    path: str
    steps: tuple[StepConfig, ...]
    wait: bool


def locations_in(value: Any) -> Iterable[str]:
    """Find all text in plain values, which is where an option may name a folder.

    Args:
        value: lists, mappings and scalars.

    Yields:
        Every string that is no key.

    Raises:
        Nothing.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from locations_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from locations_in(item)


def reads(options: dict[str, Any], folder: str) -> bool:
    """Tell whether a stage's options name an output folder, or something in it.

    Args:
        options: plain values with absolute paths; where they write to does not count.
        folder: absolute path or URL.

    Returns:
        Whether one of them does.

    Raises:
        Nothing.
    """
    inputs = {name: value for name, value in options.items() if name != "output"}
    inside = f"{folder.rstrip('/')}/"
    return any(f"{text}/".startswith(inside) for text in locations_in(inputs))
