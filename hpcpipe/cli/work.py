"""``hpcpipe work``: be one worker of a run, as a task of a plain sbatch array or by hand."""

import argparse
import os
import socket
import time

import msgspec

from hpcpipe.cli.verb import run_of, shown, verb_parser
from hpcpipe.console import plural, say, warn
from hpcpipe.errors import ConfigError
from hpcpipe.launch.task import describe, work
from hpcpipe.manifest.code import Code
from hpcpipe.manifest.files import replace
from hpcpipe.manifest.identity import slurm_number
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.access import check_access, user_name
from hpcpipe.runtime.devices import place
from hpcpipe.runtime.find import config_name, read_options
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.watchdog import EXIT_STOPPED

EXIT_INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Work on a run until nothing is left to claim, or until told to stop.

    Args:
        argv: arguments after the verb.

    Returns:
        0 when it ended by itself, whatever became of the shards; 4 when it was stopped with
        shards left; 130 after Ctrl-C.

    Raises:
        HpcPipeError: there is no such run, or the worker cannot work.
        OSError: the run directory fails.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    run = run_of(args, "work")
    index = _index() if args.index is None else args.index
    if warning := check_access(run):
        warn(f"warning: {warning}")
    launch = _launch(run, args.launch, args.limit)
    flag = StopFlag(run.stop_file)
    try:
        with flag.handle_signals(interrupt=not _batch_job()):
            result = work(run, launch, index, flag, is_batch=bool(_batch_job()))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    say(f"worker     {describe(result)}")
    num_pending = _num_pending(run, launch) if result.stopped else 0
    if not num_pending:
        return 0
    say(f"left       {plural(num_pending, 'shard')}: python -m hpcpipe status {shown(run.path)}")
    if run.stop_file.exists():
        say(f"stopped    by {shown(run.stop_file)}: remove it to work on")
    return EXIT_STOPPED


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "work",
        "Be one worker of a run in this process: claim shards and do them until none is left.\n"
        "Start as many as you like, wherever the run directory can be seen.",
        "examples:\n"
        "  hpcpipe work runs/reshard/first                             one worker, here\n"
        "  sbatch --array=0-63 sbatch/worker.sbatch runs/reshard/first  64, by plain sbatch\n"
        "\nexit codes: 0 it ended by itself (status tells of the shards), 4 it was stopped with\n"
        "shards left, 2 it could not start, 130 Ctrl-C",
    )
    parser.add_argument(
        "--launch", type=_count, metavar="N", help="the launch it belongs to; a new one without it"
    )
    parser.add_argument(
        "--index",
        type=_count,
        metavar="I",
        help="its number among the jobs of the launch; that of the SLURM array task without it",
    )
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="work on the first so many shards only"
    )
    return parser.parse_args(argv)


def _count(given: str) -> int:
    if not given.isdecimal():
        raise argparse.ArgumentTypeError(f"{given!r} is no count")
    return int(given)


def _index() -> int:
    """The array task's position in its array; 0 outside of arrays."""
    return max(slurm_number("ARRAY_TASK_ID") - slurm_number("ARRAY_TASK_MIN"), 0)


def _batch_job() -> str:
    """The batch job this process belongs to; empty outside, and in an interactive allocation."""
    if os.environ.get("ENVIRONMENT") != "BATCH":
        return ""
    return os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID") or ""


def _launch(run: RunDir, number: int | None, limit: int | None) -> Launch:
    """The launch this worker belongs to: the named one, its array's, or a new one."""
    job = _batch_job()
    if number is None:
        known = _launch_of(run, job)
        return known or _new_launch(run, "work", config_name(run), job, limit)
    try:
        named = run.read_launch(number)
    except FileNotFoundError:
        numbers = ", ".join(str(launch.number) for launch in run.read_launches()) or "none"
        raise ConfigError(f"--launch: the run has no launch {number}; it has: {numbers}") from None
    if limit is not None:
        named = msgspec.structs.replace(named, limit=limit)
    if named.array_job == job or not job:
        return named
    if not named.array_job:
        # Now the run's queue can be asked after, and cancelled.
        named = msgspec.structs.replace(named, array_job=job)
        run.update_launch(named)
        return named
    again = _launch_of(run, job)
    return again or _new_launch(run, named.kind, f"launches/{number}.yaml", job, named.limit)


def _launch_of(run: RunDir, job: str) -> Launch | None:
    """The launch that another task of the same array has recorded, if it is complete."""
    launches = run.read_launches() if job else []
    for launch in launches:
        if launch.array_job == job and (run.launches / f"{launch.number}.yaml").is_file():
            return launch
    return None


def _new_launch(run: RunDir, kind: str, config: str, job: str, limit: int | None) -> Launch:
    config_text = (run.path / config).read_bytes()
    before = run.read_launches()
    num_ranks = place().num_ranks
    launch = run.add_launch(
        Launch(
            number=0,
            kind=kind,
            num_workers=slurm_number("ARRAY_TASK_COUNT", 1) * num_ranks,
            workers_per_job=num_ranks,
            array_job=job,
            limit=limit,
            cwd=os.getcwd(),
            user=user_name(),
            host=socket.gethostname(),
            pid=os.getpid(),
            at=time.time(),
            code=before[-1].code if before else Code(),
        )
    )
    replace(run.launches / f"{launch.number}.yaml", config_text)
    return launch


def _num_pending(run: RunDir, launch: Launch) -> int:
    observer = Observer(run, read_options(run))
    observer.refresh()
    return len(observer.state.pending(launch.limit))
