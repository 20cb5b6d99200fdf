"""hpcpipe from Python: the same composition, checks and launch as the command line."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from hpcpipe.compose.app import Composed, start_all
from hpcpipe.compose.arguments import normalised
from hpcpipe.compose.hydra_call import compose_one
from hpcpipe.config import Config, from_omegaconf
from hpcpipe.errors import ConfigError

COMMON_KEYS = ("run_name", "run_dir", "limit", "extend", "retry_failed", "adopt", "wait")
"""Keys of every run that may stand beside the stage's options in a call."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What became of a run that was started from Python.

    Attributes:
        run_dir: the run directory.
        exit_code: as the command's: 0 done or submitted, 3 shards quarantined, 4 incomplete.
    """

    run_dir: Path
    exit_code: int


def run(
    stage: str,
    *,
    launcher: Literal["slurm", "local", "script", "spark"] | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> RunResult:
    """Run a stage, or submit it, as ``python -m hpcpipe stage=NAME`` does.

    Args:
        stage: name of the stage.
        launcher: how to start workers; None works in this process.
        overrides: further ``KEY=VALUE`` settings as on the command line, e.g. ``run.lease_s=60``.
        options: the stage's options as Python values, and what every run has: ``run_name``,
            ``run_dir``, ``limit``, ``extend``, ``retry_failed``, ``adopt`` and ``wait``. A name
            that the stage has too means the stage's. Of an option that has options of its own,
            those that a mapping gives are set. Nothing needs quoting here.

    Returns:
        The run directory and the exit code; failed shards raise nothing.

    Raises:
        HpcPipeError: the options are wrong, or the run cannot be planned or started.
    """
    config = compose_run(stage, launcher=launcher, overrides=overrides, **options)
    mode: Literal["here", "submit"] = "here" if launcher is None else "submit"
    (run_dir,), exit_code = start_all(Composed(mode=mode, configs=[config]))
    return RunResult(run_dir=run_dir, exit_code=exit_code)


def compose_run(
    stage: str,
    *,
    launcher: str | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Config:
    """Compose and check the configuration of a run without starting it.

    Args:
        stage: as for `run`.
        launcher: as for `run`.
        overrides: as for `run`.
        options: as for `run`.

    Returns:
        The configuration.

    Raises:
        ConfigError: the options are wrong.
    """
    from omegaconf import OmegaConf

    choices = [f"stage={stage}", *map(normalised, overrides)]
    if launcher is not None:
        choices.append(f"launcher={launcher}")
    cfg = compose_one(choices)
    OmegaConf.set_struct(cfg, False)
    for name, value in options.items():
        is_common = name in COMMON_KEYS and name not in cfg.stage
        plain = plain_value(value, name if is_common else f"stage.{name}")
        OmegaConf.update(cfg if is_common else cfg.stage, name, plain, merge=True)
    return from_omegaconf(cfg, stage)


def plain_value(value: Any, where: str) -> Any:
    """Turn a Python value into the types that YAML has: paths into text, tuples into lists.

    Args:
        value: the value.
        where: dotted key for messages.

    Returns:
        The plain value.

    Raises:
        ConfigError: YAML has nothing like it.
    """
    try:
        return msgspec.to_builtins(value, enc_hook=os.fspath)
    except TypeError as err:
        raise ConfigError(f"{where}: {err}") from err
