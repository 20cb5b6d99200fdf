"""``hpcpipe logs``: the logs of a run's workers, and what they say of one shard."""

import argparse
from pathlib import Path

from hpcpipe.cli import logs_text
from hpcpipe.cli.follow import follow
from hpcpipe.cli.retry import unknown_shard
from hpcpipe.cli.verb import run_of, verb_parser
from hpcpipe.cli.watch import Watcher
from hpcpipe.console import say
from hpcpipe.errors import ConfigError
from hpcpipe.manifest.journal import FINALIZE, Event, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.history import attempts, speaks_of
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.workers import read_workers


def main(argv: list[str]) -> int:
    """Print logs, or a shard's history.

    Args:
        argv: arguments after the verb.

    Returns:
        0.

    Raises:
        HpcPipeError: there is no such run, shard or worker.
        OSError: a log cannot be read.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    run = run_of(args, "logs")
    options = read_options(run)
    observer = Observer(run, options)
    observer.refresh()
    workers = read_workers(run, options.lease_s)
    watcher = Watcher(observer)
    worker_log = None
    if args.shard is None:
        lines = logs_text.overview(run, workers, watcher.not_started())
    elif observer.state.block_name(args.shard):
        events = JournalReader(run.journal, Event).read()
        history = attempts(observer.state, args.shard, events, workers)
        status = observer.state.status(args.shard)
        lines = logs_text.shard(run, args.shard, status, history)
    elif (worker_log := _worker_log(run, args.shard)) is not None:
        lines = worker_log.read_text(encoding="utf-8", errors="replace").splitlines()
    else:
        raise ConfigError(f"{unknown_shard(args.shard, observer.state)} (nor is it a worker)")
    say("\n".join(lines))
    if args.follow:
        names = speaks_of(args.shard) if args.shard and worker_log is None else None
        follow(run, watcher, worker_log, names)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "logs",
        "Print the logs of a run's workers, or what became of one shard: its attempts, and the\n"
        "log lines that speak of it.",
        "examples:\n"
        "  hpcpipe logs runs/reshard/first              which logs there are, errors first\n"
        "  hpcpipe logs runs/reshard/first part-1/0042  the history of a shard\n"
        "  hpcpipe logs runs/reshard/first 1234_7       the log of a worker\n"
        f"  hpcpipe logs runs/reshard/first {FINALIZE}    that of the last step\n"
        "  hpcpipe logs runs/reshard/first --follow     new lines of all workers as they come",
    )
    parser.add_argument("shard", nargs="?", metavar="SHARD", help="shard id, or a worker's name")
    parser.add_argument(
        *("--follow", "-f"),
        action="store_true",
        help="go on printing new lines until no worker is left; Ctrl-C ends",
    )
    return parser.parse_args(argv)


def _worker_log(run: RunDir, name: str) -> Path | None:
    known = {path.stem: path for path in run.logs.glob("*.log")}
    return known.get(name.removesuffix(".log"))
