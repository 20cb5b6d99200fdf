"""Starting a pipeline: step after step on this machine, or all steps at once on SLURM."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import hpcpipe
from hpcpipe.config import ScriptLauncher, SlurmLauncher
from hpcpipe.config.pipeline import PipelineConfig, StepConfig, as_typed
from hpcpipe.console import say, warn
from hpcpipe.errors import ConfigError, HpcPipeError, RunMismatchError, SetupError
from hpcpipe.launch import pipeline_slurm, slurm, trial
from hpcpipe.launch import start as runs
from hpcpipe.launch.lock import launching
from hpcpipe.launch.models import check_models
from hpcpipe.launch.pending import show
from hpcpipe.launch.place import check_place
from hpcpipe.manifest.pipeline_dir import FORMAT_VERSION, PipelineDir, is_pipeline_dir
from hpcpipe.manifest.pipeline_records import PipelineInfo, Step
from hpcpipe.runtime.gate import sources_of

EXIT_INCOMPLETE = 4
EXIT_INTERRUPTED = 130


class Started(NamedTuple):
    """What `start` did.

    Attributes:
        directory: the pipeline directory.
        codes: exit code by step; those that are queued or running have 0.
        jobs: number of the submission by step, for steps that wait for their plan.
        is_submitted: it is SLURM's now, so that it can be followed.
    """

    directory: PipelineDir
    codes: dict[str, int]
    jobs: dict[str, int]
    is_submitted: bool


def start(config: PipelineConfig, mode: Literal["here", "submit"]) -> Started:
    """Start a pipeline, or go on with it; what is complete is left alone.

    Args:
        config: the pipeline.
        mode: ``here`` works in this process; ``submit`` starts workers by the launcher.

    Returns:
        What became of every step.

    Raises:
        HpcPipeError: nothing could be started; the message says why.
        KeyboardInterrupt: interrupted; the pipeline can be resumed.
    """
    launcher = config.steps[0].config.launcher
    if mode == "submit" and isinstance(launcher, ScriptLauncher):
        raise ConfigError(
            "launcher=script writes the workers of one run: give a pipeline launcher=slurm or "
            "launcher=local, or start its steps one by one as stages, each when the one above is "
            "complete"
        )
    max_array_size = 0
    if mode == "submit" and isinstance(launcher, SlurmLauncher):
        max_array_size = slurm.check_available()
    _check_steps(config)
    if max_array_size:
        trial.check_steps(config.steps)
    directory, how = open_directory(config)
    say(f"pipeline   {show(directory.path)} ({how})")
    if max_array_size:
        submission = pipeline_slurm.Submission(directory, max_array_size)
        with launching(directory.path):
            codes = _each(config, submission.submit)
        started = Started(directory, codes, submission.jobs, is_submitted=True)
    else:

        def start_here(step: StepConfig) -> int:
            sources = sources_of(directory, directory.step(step.name))
            return runs.start(step.config, mode, sources).exit_code

        codes = _each(config, start_here)
        started = Started(directory, codes, {}, is_submitted=False)
    say(f"\nstatus     python -m hpcpipe status {show(directory.path)}")
    return started


def _check_steps(config: PipelineConfig) -> None:
    """Refuse now what a job would come upon in hours: runs of others, models that lack."""
    for step in config.steps:
        try:
            check_place(step.config)
            check_models(step.config, f"pipeline={config.name}")
        except (RunMismatchError, SetupError) as err:
            raise type(err)(_told(step, err)) from err


def _told(step: StepConfig, error: HpcPipeError) -> str:
    return f"step {step.name}: {as_typed(str(error), step.name, step.options)}"


def _each(config: PipelineConfig, start_one: Callable[[StepConfig], int]) -> dict[str, int]:
    """Start step after step, but none that reads what a failed one should have made."""
    codes: dict[str, int] = {}
    for number, step in enumerate(config.steps, 1):
        say(f"\nstep       {step.name} ({number} of {len(config.steps)})")
        failed = [name for name in step.needs if codes[name]]
        if failed:
            say(f"not begun  it reads the output of {', '.join(failed)}, which is not complete")
            codes[step.name] = max(codes[name] for name in failed)
            continue
        try:
            codes[step.name] = start_one(step)
        except HpcPipeError as err:
            warn(f"error: {_told(step, err)}")
            codes[step.name] = err.exit_code
        if codes[step.name] == EXIT_INTERRUPTED:
            break
    return codes


def open_directory(config: PipelineConfig) -> tuple[PipelineDir, str]:
    """Open the pipeline directory, making it where there is none.

    Args:
        config: the pipeline.

    Returns:
        The directory, and what was done in words for the user: ``new`` or ``resumed``.

    Raises:
        ConfigError: it cannot be written.
        RunMismatchError: it belongs to another pipeline, or is damaged.
    """
    path = Path(config.path)
    how = "resumed" if is_pipeline_dir(path) else "new"
    info = PipelineInfo(
        format_version=FORMAT_VERSION,
        name=config.name,
        fingerprint=config.fingerprint,
        created_at=time.time(),
        version=hpcpipe.__version__,
        steps=tuple(map(_step, config.steps)),
    )
    try:
        return PipelineDir.make(path, info), how
    except OSError as error:
        raise ConfigError(
            f"pipeline directory {path} cannot be made: {error.strerror} ({error.filename}). "
            "Set HPCPIPE_RUNS to a writable shared folder"
        ) from error


def _step(step: StepConfig) -> Step:
    config = step.config
    return Step(
        name=step.name,
        stage=config.stage_name,
        fingerprint=config.fingerprint,
        run_dir=config.run_dir,
        output=config.output,
        needs=step.needs,
    )


def follow(config: PipelineConfig, started: Started) -> int:
    """Wait until all steps of a submitted pipeline are over, showing the progress of each.

    Args:
        config: the pipeline.
        started: what `start` did.

    Returns:
        The worst exit code.

    Raises:
        HpcPipeError: a run cannot be read.
        KeyboardInterrupt: interrupted; the jobs go on.
    """
    codes = dict(started.codes)

    def wait_for(step: StepConfig) -> int:
        if codes[step.name]:
            return codes[step.name]
        number = started.jobs.get(step.name)
        if number is not None and (problem := pipeline_slurm.await_plan(started.directory, number)):
            warn(f"error: {problem}")
            return EXIT_INCOMPLETE
        run = started.directory.step(step.name).find_run()
        return runs.follow([run.path]) if run else EXIT_INCOMPLETE

    try:
        return max(_each(config, wait_for).values())
    except KeyboardInterrupt:
        path = show(started.directory.path)
        warn(f"the later steps go on, too; python -m hpcpipe cancel {path} stops all of them")
        raise
