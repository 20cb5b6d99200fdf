"""A pipeline's configuration: its steps in order, each the configuration of a normal run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpcpipe.config.config import Config

_OPTION = re.compile(r"(?<![\w./-])(?:stage|resources)\.[a-z][\w.]*\w")


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One step of a pipeline.

    Attributes:
        name: its name in the pipeline.
        config: the configuration of its run, the same as if the step were run alone.
        needs: names of the earlier steps whose output it reads.
        options: options of its run (``stage.seed``) that options of the pipeline give
            (``pipeline.seed``).
    """

    name: str
    config: Config
    needs: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


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


def as_typed(text: str, step: str, options: Mapping[str, str]) -> str:
    """Call options of a step's run in a message what they are called in the pipeline's command.

    Args:
        text: the message of the run.
        step: the step's name.
        options: as in `StepConfig`.

    Returns:
        The message with ``pipeline.seed``, or ``STEP.stage.seed``, for ``stage.seed``.

    Raises:
        Nothing.
    """
    return _OPTION.sub(lambda found: options.get(found[0], f"{step}.{found[0]}"), text)
