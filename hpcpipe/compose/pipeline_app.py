"""From a command line with ``pipeline=NAME`` to started pipelines."""

from typing import Literal

from hpcpipe.compose.arguments import MULTIRUN_FLAGS
from hpcpipe.compose.pipeline import compose_pipelines
from hpcpipe.config.pipeline import PipelineConfig
from hpcpipe.console import say, warn
from hpcpipe.errors import ConfigError, HpcPipeError

Mode = Literal["here", "submit"]


def main(name: str, flags: list[str], overrides: list[str]) -> int:
    """Compose and start the pipelines that the arguments ask for.

    Args:
        name: the pipeline.
        flags: Hydra's flags.
        overrides: all overrides.

    Returns:
        The worst exit code of all pipelines.

    Raises:
        HpcPipeError: the configuration is wrong; nothing was started.
        KeyboardInterrupt: interrupted.
    """
    is_printed = any(flag.startswith("--cfg") for flag in flags)
    mode_flags = [flag for flag in flags if flag in MULTIRUN_FLAGS]
    composed = compose_pipelines(name, mode_flags, overrides)
    if is_printed:
        say("---\n".join(pipeline.text for pipeline in composed))
        return 0
    pipelines = [pipeline.config for pipeline in composed]
    _check_distinct(pipelines)
    return start_all(pipelines, "submit" if mode_flags else "here")


def _check_distinct(pipelines: list[PipelineConfig]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for config in (step.config for pipeline in pipelines for step in pipeline.steps):
        for key in ("run_dir", "output"):
            place = getattr(config, key)
            if owners.setdefault((key, place), config.fingerprint) != config.fingerprint:
                raise ConfigError(
                    f"steps of several of these pipelines would use the {key} {place}: sweep "
                    "over the pipeline's output too, or start them one after the other"
                )


def start_all(pipelines: list[PipelineConfig], mode: Mode) -> int:
    """Start pipelines in turn, and follow those that were submitted if asked to.

    Args:
        pipelines: checked configurations.
        mode: work in this process, or start workers.

    Returns:
        The worst exit code.

    Raises:
        HpcPipeError: the only one could not be started; of several, each failure is printed.
        KeyboardInterrupt: interrupted.
    """
    from hpcpipe.launch import pipeline as launch

    codes: list[int] = []
    to_follow: list[tuple[PipelineConfig, launch.Started]] = []
    for pipeline in pipelines:
        try:
            started = launch.start(pipeline, mode)
        except HpcPipeError as err:
            if len(pipelines) == 1:
                raise
            warn(f"error: {pipeline.path}: {err}")
            codes.append(err.exit_code)
            continue
        codes += started.codes.values()
        if pipeline.wait and started.is_submitted:
            to_follow.append((pipeline, started))
    codes += [launch.follow(pipeline, started) for pipeline, started in to_follow]
    return max(codes)
