"""A pipeline's configuration: its steps in order, each the configuration of a normal run."""

from dataclasses import dataclass

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
