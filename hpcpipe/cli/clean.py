"""``hpcpipe clean``: remove what a run or pipeline has left behind."""

import argparse
import os
import shutil
from collections import defaultdict
from pathlib import Path

from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.verb import run_of, runs_folder, shown, verb_parser
from hpcpipe.console import plural, say, size
from hpcpipe.errors import ConfigError, LaunchError
from hpcpipe.launch import squeue
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.rundir import FOLDERS, RunDir
from hpcpipe.runtime.access import check_writable
from hpcpipe.runtime.closing import close_if_over
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.leftovers import Leftover, find_leftovers, find_pipeline_leftovers, remove
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.workers import read_workers


def main(argv: list[str]) -> int:
    """Remove temporary files and pickles of a run or pipeline, and old logs if asked to.

    Args:
        argv: arguments after the verb.

    Returns:
        0.

    Raises:
        HpcPipeError: there is no such run, workers of it live or are queued, or it may not be
            written by this user.
        OSError: something cannot be removed.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is None:
        runs = [run_of(args, "clean")]
    else:
        runs = list(filter(None, (step.find_run() for step in pipeline.info.steps)))
        submitted = [job_id for job in pipeline.read_jobs() for job_id in job.ids]
        _check_none_queued(submitted, "pipeline", pipeline.path)
    for run in runs:
        _check_idle(run)
    for run in runs if not args.dry_run else ():
        check_writable(run, run.path, *(run.path / name for name in FOLDERS))
        _close(run)
    sums: dict[str, list[int]] = defaultdict(list)
    for leftover in _found(runs, pipeline, logs=args.all):
        if not args.dry_run:
            remove(leftover)
        sums[leftover.kind].append(leftover.num_bytes)
        _tell(leftover, is_dry_run=args.dry_run)
    verb = "would go" if args.dry_run else "removed"
    for kind, sizes in sums.items():
        print(f"{verb:10} {plural(len(sizes), kind)}, {size(sum(sizes))}")
    if not sums:
        print("nothing to remove")
    return 0


def _found(runs: list[RunDir], pipeline: PipelineDir | None, *, logs: bool) -> list[Leftover]:
    if pipeline is None:
        return list(find_leftovers(runs[0], logs=logs))
    found = find_pipeline_leftovers(pipeline, logs=logs)
    by_place = {(os.path.realpath(one.path), one.upload): one for one in found}
    return list(by_place.values())


def _close(run: RunDir) -> None:
    """Do what the last worker of a run does, where that one was killed."""
    options = read_options(run)
    observer = Observer(run, options)
    observer.refresh()
    close_if_over(run, options, observer.state)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "clean",
        "Remove what a run has left behind: half-written outputs, unfinished uploads and scratch\n"
        "folders (on this machine) of workers that died, the pickles its workers were started\n"
        "with, folders of launches that never came to be. RUN may be a pipeline: all its steps.\n"
        "Refuses while workers of the run live or are queued. Outputs, and what the run knows\n"
        "of its shards, are never touched: a cleaned run can be resumed.",
        "examples:\n"
        "  hpcpipe clean runs/reshard/first --dry-run  what would go\n"
        "  hpcpipe clean runs/reshard/first --all      logs, too",
    )
    parser.add_argument("--all", action="store_true", help="remove the workers' logs, too")
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, list it")
    return parser.parse_args(argv)


def _check_idle(run: RunDir) -> None:
    """Refuse where a worker lives or may still be started."""
    views = read_workers(run, read_options(run).lease_s)
    num_running = sum(view.state == "running" for view in views)
    if num_running:
        raise ConfigError(
            f"{plural(num_running, 'worker')} of the run still at work: wait for the end, or "
            f"python -m hpcpipe cancel {shown(run.path)}"
        )
    arrays = [launch.array_job for launch in run.read_launches() if launch.array_job]
    _check_none_queued(arrays, "run", run.path)


def _check_none_queued(arrays: list[str], what: str, path: Path) -> None:
    if not arrays or shutil.which("squeue") is None:
        return
    try:
        num_queued = squeue.num_live_tasks(arrays)
    except LaunchError as error:
        raise ConfigError(
            f"whether tasks of the {what} are queued is not known: {error}"
        ) from error
    if num_queued:
        raise ConfigError(
            f"{plural(num_queued, 'task')} of the {what} still in the queue: wait for them, or "
            f"python -m hpcpipe cancel {shown(path)}"
        )


def _tell(leftover: Leftover, *, is_dry_run: bool) -> None:
    if is_dry_run:
        say(f"{leftover.kind:24}  {size(leftover.num_bytes):>10}  {shown(leftover.path)}")
