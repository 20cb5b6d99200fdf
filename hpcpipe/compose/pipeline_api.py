"""Pipelines from Python: the same composition, checks and launch as the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpcpipe.compose import steps as step_files
from hpcpipe.compose.api import plain_value
from hpcpipe.compose.arguments import normalised
from hpcpipe.compose.hydra_call import compose_one
from hpcpipe.compose.pipeline import ComposedPipeline, Request, build
from hpcpipe.compose.pipeline_app import start_all
from hpcpipe.config.convert import unknown_key
from hpcpipe.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """What became of a pipeline that was started from Python.

    Attributes:
        pipeline_dir: the pipeline directory.
        exit_code: as the command's: 0 done or submitted, 3 shards quarantined, 4 incomplete.
    """

    pipeline_dir: Path
    exit_code: int


def compose_pipeline(
    name: str,
    *,
    launcher: str | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> ComposedPipeline:
    """Compose and check a pipeline from Python without starting it.

    Args:
        name: the pipeline.
        launcher: how to start workers; None works in this process.
        overrides: further ``KEY=VALUE`` settings as on the command line.
        options: the pipeline's options as Python values.

    Returns:
        The pipeline.

    Raises:
        ConfigError: the options are wrong.
    """
    steps = step_files.read_steps(name)
    common, own = step_files.split_overrides(steps, map(normalised, overrides))
    choices = [f"pipeline={name}", *common]
    if launcher is not None:
        choices.append(f"launcher={launcher}")
    cfg = compose_one(choices)
    known = [key for key in cfg.pipeline if key != "steps"]
    for key, value in options.items():
        if key not in known:
            raise ConfigError(unknown_key(key, known, "pipeline"))
        cfg.pipeline[key] = plain_value(value, f"pipeline.{key}")
    return build(name, Request(cfg, choices), steps, own)


def run_pipeline(
    name: str,
    *,
    launcher: Literal["slurm", "local", "spark"] | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> PipelineResult:
    """Run a pipeline, or submit it, as ``python -m hpcpipe pipeline=NAME`` does.

    Args:
        name: the pipeline.
        launcher: how to start workers; None works in this process, step by step.
        overrides: further ``KEY=VALUE`` settings as on the command line, e.g.
            ``run_name=first`` or ``reshard.resources.time_min=60``.
        options: the pipeline's options as Python values. Nothing needs quoting here.

    Returns:
        The pipeline directory and the exit code; failed shards raise nothing.

    Raises:
        HpcPipeError: the options are wrong, or a step cannot be planned or started.
    """
    pipeline = compose_pipeline(name, launcher=launcher, overrides=overrides, **options).config
    code = start_all([pipeline], "here" if launcher is None else "submit")
    return PipelineResult(pipeline_dir=Path(pipeline.path), exit_code=code)
