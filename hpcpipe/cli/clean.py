"""``hpcpipe clean``: remove what a run has left behind."""

import argparse
import shutil
from collections import defaultdict

from hpcpipe.cli.verb import run_of, shown, verb_parser
from hpcpipe.console import plural, say, size
from hpcpipe.errors import ConfigError, LaunchError
from hpcpipe.launch import squeue
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.closing import close_if_over
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.leftovers import Leftover, find_leftovers, remove
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.workers import read_workers


def main(argv: list[str]) -> int:
    """Remove temporary files and pickles of a run, and old logs if asked to.

    Args:
        argv: arguments after the verb.

    Returns:
        0.

    Raises:
        HpcPipeError: there is no such run, or workers of it live or are queued.
        OSError: something cannot be removed.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    run = run_of(args, "clean")
    _check_idle(run)
    if not args.dry_run:
        _close(run)
    sums: dict[str, list[int]] = defaultdict(list)
    for leftover in list(find_leftovers(run, logs=args.all)):
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
        "with, folders of launches that never came to be.\n"
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
    arrays = {launch.array_job for launch in run.read_launches() if launch.array_job}
    if not arrays or shutil.which("squeue") is None:
        return
    try:
        num_queued = squeue.num_live_tasks(arrays)
    except LaunchError as error:
        raise ConfigError(f"whether tasks of the run are queued is not known: {error}") from error
    if num_queued:
        raise ConfigError(
            f"{plural(num_queued, 'task')} of the run still in the queue: wait for them, or "
            f"python -m hpcpipe cancel {shown(run.path)}"
        )


def _tell(leftover: Leftover, *, is_dry_run: bool) -> None:
    if is_dry_run:
        say(f"{leftover.kind:24}  {size(leftover.num_bytes):>10}  {shown(leftover.path)}")
