"""`status`, `cancel` and `retry` of a whole pipeline."""

import shutil
import sys
import time
from collections.abc import Callable

import msgspec

from hpcpipe.cli import pipeline_text, text
from hpcpipe.cli.pipelines import LIVE, look
from hpcpipe.console import plural, say
from hpcpipe.errors import LaunchError
from hpcpipe.launch import squeue
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.gate import why_incomplete

EXIT_TOLD = 4
_CLEAR = "\x1b[H\x1b[2J"


def status(directory: PipelineDir, *, as_json: bool, every_s: float | None) -> int:
    """Show a pipeline, once or until it ends.

    Args:
        directory: the pipeline.
        as_json: print everything as JSON.
        every_s: draw it anew after so many seconds, until nothing of it runs; None shows it once.

    Returns:
        0.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a directory cannot be read.
    """
    try:
        while True:
            view = look(directory)
            if as_json:
                print(msgspec.json.encode(view).decode(), flush=True)
            else:
                rows = pipeline_text.lines(view, text.terminal_width())
                clear = _CLEAR if every_s is not None and sys.stdout.isatty() else ""
                sys.stdout.write(clear)
                say("\n".join(rows))
            if every_s is None or view.state not in LIVE:
                return 0
            time.sleep(every_s)
    except KeyboardInterrupt:
        return 0


def cancel(directory: PipelineDir, stop: Callable[[RunDir], int]) -> int:
    """Cancel what waits for its plan, the last first, then stop every step's run.

    Args:
        directory: the pipeline.
        stop: stops one run, and gives the exit code.

    Returns:
        The worst exit code.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a directory cannot be read.
    """
    num_waiting, code = _cancel_waiting(directory)
    codes = [code]
    for step in reversed(directory.info.steps):
        run = step.find_run()
        if run is not None and why_incomplete(step):
            say(f"step       {step.name}")
            codes.append(stop(run))
    if len(codes) == 1 and not code and not num_waiting:
        say("nothing of this pipeline is queued or running")
    return max(codes)


def _cancel_waiting(directory: PipelineDir) -> tuple[int, int]:
    """Cancel plan jobs, and arrays that no run knows of yet; how many there were, and the code."""
    ids = {
        job_id
        for job in directory.read_jobs()
        if directory.read_plan(job.number) is None
        for job_id in job.ids
    }
    if not ids:
        return 0, 0
    if shutil.which("scancel") is None or shutil.which("squeue") is None:
        print("there is no scancel on this machine: plan jobs may still be queued")
        return 0, EXIT_TOLD
    try:
        cancelled = squeue.cancel(ids)
    except LaunchError as error:
        print(f"SLURM did not cancel the steps that wait: {error}")
        return 0, EXIT_TOLD
    if cancelled:
        print(f"cancelled  {plural(len(cancelled), 'job')} of steps that wait for others")
    return len(cancelled), 0


def retry(directory: PipelineDir, retry_one: Callable[[RunDir], bool]) -> int:
    """Make the quarantined shards of every step pending again.

    Args:
        directory: the pipeline.
        retry_one: resets those of one run, and tells whether there were any.

    Returns:
        0.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a directory cannot be written.
    """
    reset = []
    for step in directory.info.steps:
        run = step.find_run()
        if run is not None:
            say(f"step       {step.name}")
            reset.append(retry_one(run))
    if any(reset):
        say(pipeline_text.go_on(look(directory)))
    return 0
