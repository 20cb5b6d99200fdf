"""``hpcpipe cancel``: stop the workers of a run."""

import argparse
import os
import shutil
import signal

from hpcpipe.cli import pipeline_verbs
from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.verb import run_of, runs_folder, shown, verb_parser
from hpcpipe.console import plural
from hpcpipe.errors import LaunchError
from hpcpipe.launch import squeue
from hpcpipe.manifest.identity import process_runs
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.access import check_writable
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.workers import WorkerView, read_workers


def main(argv: list[str]) -> int:
    """Stop a run's workers, or all jobs of a pipeline, at once or after the shards at hand.

    Args:
        argv: arguments after the verb.

    Returns:
        0; 4 where some workers could only be asked to stop by the STOP file.

    Raises:
        HpcPipeError: there is no such run, SLURM refuses, or the run is closed to this user.
        OSError: the run directory cannot be written.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is not None:
        return pipeline_verbs.cancel(pipeline, lambda run: _stop(run, drain=args.drain))
    return _stop(run_of(args, "cancel"), drain=args.drain)


def _stop(run: RunDir, *, drain: bool) -> int:
    views = read_workers(run, read_options(run).lease_s)
    running = [view for view in views if view.state == "running"]
    if drain:
        _ask_to_stop(run)
        print(f"stopping   {plural(len(running), 'worker')} after the shards at hand")
        print(f"           ({shown(run.stop_file)} is there until the next launch)")
        return 0
    tasks = _cancel_arrays(run)
    cancelled = {x.number for x in run.read_launches() if tasks and x.array_job in tasks}
    others = [view for view in running if view.identity.launch not in cancelled]
    num_signalled = sum(map(_terminate, others))
    if tasks:
        print(f"cancelled  {plural(sum(tasks.values()), 'task')} of the run's arrays")
    if num_signalled:
        print(f"stopping   {plural(num_signalled, 'worker')} on this machine")
    if tasks is None or num_signalled < len(others):
        _ask_to_stop(run)
        print("stopping   the other workers after the shards at hand, by a STOP file:")
        print(f"           {shown(run.stop_file)} (there until the next launch)")
        return 4
    if not tasks and not others:
        print("nothing of this run is queued or running")
    return 0


def _ask_to_stop(run: RunDir) -> None:
    check_writable(run, run.path)
    run.ask_to_stop()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "cancel",
        "Stop a run's workers: SLURM arrays by scancel, workers on this machine by a signal,\n"
        "workers elsewhere by a STOP file in the run directory. Nothing that is finished is\n"
        "lost; launch the run again to go on. RUN may be a pipeline: all its jobs are stopped.",
        "examples:\n"
        "  hpcpipe cancel runs/reshard/first          at once\n"
        "  hpcpipe cancel runs/reshard/first --drain  each worker finishes its shard first\n"
        "\nexit codes: 0 done, 4 some workers could only be told by the STOP file",
    )
    parser.add_argument(
        "--drain", action="store_true", help="let workers finish the shards at hand"
    )
    return parser.parse_args(argv)


def _cancel_arrays(run: RunDir) -> dict[str, int] | None:
    """Cancel all arrays of a run; tasks by array job id, None where SLURM could not be asked."""
    arrays = {launch.array_job for launch in run.read_launches() if launch.array_job}
    if not arrays:
        return {}
    if shutil.which("scancel") is None or shutil.which("squeue") is None:
        print("there is no scancel on this machine")
        return None
    try:
        return squeue.cancel(arrays)
    except LaunchError as error:
        print(f"SLURM did not cancel: {error}")
        return None


def _terminate(view: WorkerView) -> bool:
    """Send TERM to a worker's process, where it is on this machine, one's own, and no SLURM job.

    A worker that is a SLURM job waits for SLURM to end it after TERM.
    """
    if view.identity.job or not process_runs(view.identity):
        return False
    try:
        os.kill(view.identity.pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        return False
    return True
