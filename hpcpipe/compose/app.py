"""From command line arguments to started runs: Hydra composes, `hpcpipe.launch` starts.

The task function that Hydra calls only records what it was given; everything is checked before
anything is started, and started after Hydra has returned. Hydra is imported inside functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcpipe.compose.arguments import MULTIRUN_FLAGS, given_values, split_arguments
from hpcpipe.compose.hydra_call import call_main
from hpcpipe.config import Config, from_omegaconf
from hpcpipe.console import warn
from hpcpipe.errors import ConfigError, HpcPipeError

if TYPE_CHECKING:
    from omegaconf import DictConfig

Mode = Literal["here", "submit"]


@dataclass(kw_only=True)
class Composed:
    """What Hydra's task function was called with.

    Attributes:
        mode: start in this process, or start workers.
        configs: one per run.
        errors: what was wrong with the others.
    """

    mode: Mode
    configs: list[Config] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


def main(args: list[str], verbs: Mapping[str, str]) -> int:
    """Compose and start the runs that the arguments ask for.

    Args:
        args: flags and overrides in any order.
        verbs: verb -> help, to recognise a mistyped one.

    Returns:
        The worst exit code of all runs.

    Raises:
        HpcPipeError: the configuration is wrong; nothing was started.
        KeyboardInterrupt: interrupted.
    """
    flags, overrides = split_arguments(args, verbs)
    if name := given_values(overrides).get("pipeline"):
        from hpcpipe.compose.pipeline_app import main as pipeline_main

        return pipeline_main(name, flags, overrides)
    composed = compose(flags, overrides)
    raise_errors(composed)
    _check_distinct(composed.configs)
    return start_all(composed)[1]


def raise_errors(composed: Composed) -> None:
    """Refuse what has an error anywhere.

    Args:
        composed: what was composed.

    Raises:
        ConfigError: the user's mistakes, each once.
        Exception: any other error as it is.
    """
    for err in composed.errors:
        if not isinstance(err, HpcPipeError):
            raise err
    if composed.errors:
        raise ConfigError("\n".join(dict.fromkeys(str(err) for err in composed.errors)))


def _check_distinct(configs: list[Config]) -> None:
    for key, name in (("run_dir", "run_dir"), ("output", "stage.output")):
        values = [getattr(config, key) for config in configs]
        if repeated := {value for value in values if values.count(value) > 1}:
            raise ConfigError(
                f"{name}: several of these runs would use {min(repeated)}. Sweep over options of "
                f"the stage, and put ${{run_name}} into a {name} that you name"
            )


def compose(flags: list[str], overrides: list[str]) -> Composed:
    """Let Hydra compose every run that the arguments ask for.

    Args:
        flags: Hydra's flags; ``--cfg`` prints, and gives no runs.
        overrides: ``KEY=VALUE``; with ``-m`` commas make a sweep.

    Returns:
        One configuration or error per run.

    Raises:
        ConfigError: Hydra refused the arguments.
    """
    is_multirun = any(flag in MULTIRUN_FLAGS for flag in flags)
    composed = Composed(mode="submit" if is_multirun else "here")

    def task(cfg: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig

        try:
            stage_name = str(HydraConfig.get().runtime.choices["stage"])
            composed.configs.append(from_omegaconf(cfg, stage_name))
        except Exception as err:
            composed.errors.append(err)

    call_main(flags, overrides, task)
    return composed


def start_all(composed: Composed) -> tuple[list[Path], int]:
    """Start every run in turn, and follow those that were submitted if asked to.

    Args:
        composed: checked configurations.

    Returns:
        The run directories of the runs that were started, and the worst exit code.

    Raises:
        HpcPipeError: the only run could not be started; of several, each failure is printed.
        KeyboardInterrupt: interrupted.
    """
    if not composed.configs:
        return [], 0
    from hpcpipe.launch.start import follow, start

    run_dirs: list[Path] = []
    codes: list[int] = []
    to_follow: list[Path] = []
    for config in composed.configs:
        try:
            started = start(config, composed.mode)
        except HpcPipeError as err:
            if len(composed.configs) == 1:
                raise
            warn(f"error: {config.run_name}: {err}")
            codes.append(err.exit_code)
            continue
        run_dirs.append(started.run_dir)
        codes.append(started.exit_code)
        if config.wait and started.is_waiting:
            to_follow.append(started.run_dir)
    if to_follow:
        codes.append(follow(to_follow))
    return run_dirs, max(codes)
