"""``hpcpipe wandb``: log a run to Weights & Biases as its shards are done, from a login node."""

import argparse
import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from hpcpipe.cli.verb import run_of, shown, verb_parser
from hpcpipe.cli.watch import Watcher
from hpcpipe.console import plural, say
from hpcpipe.errors import ConfigError
from hpcpipe.launch.lock import alone
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.logbook import FILE, Logbook
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.wandb_feed import Feed

POLL_S = 5.0
PROJECT = "hpcpipe"
_OPEN = "wandb.open.json"


def main(argv: list[str]) -> int:
    """Log a run, until it ends or at once.

    Args:
        argv: arguments after the verb.

    Returns:
        0; also where it was told to stop.

    Raises:
        HpcPipeError: there is no such run, wandb is missing, or takes no runs.
        OSError: the run directory cannot be read or written.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    run = run_of(args, "wandb")
    with alone(run.path / _OPEN, "logs this run already", "leave it to that, or end it"):
        book = _logbook(run, args.project)
        feed = Feed(run, book)
        say(f"logging    {shown(run.path)} to {feed.url or f'files, id {book.run_id}'}")
        with _told_to_stop() as stop:
            if not args.once:
                _follow(run, feed, stop)
            feed.look()
            feed.close()
    say(f"logged     {plural(feed.num_logged, 'shard')} now, {len(book.shards):,} in all")
    return 0


def _follow(run: RunDir, feed: Feed, stop: threading.Event) -> None:
    watcher = Watcher(Observer(run, read_options(run)))
    while watcher.is_live():
        feed.look()
        if stop.wait(POLL_S):
            say("stopped    the same command goes on")
            return


@contextlib.contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Whether the user or the system wants it to end; between two looks, never inside one."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stop.set()) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _logbook(run: RunDir, project: str | None) -> Logbook:
    book = Logbook(run.path, project or os.environ.get("WANDB_PROJECT") or PROJECT)
    if project not in (None, book.project):
        raise ConfigError(
            f"--project={project}: this run is logged to project {book.project}, id {book.run_id}: "
            f"leave the option away, or remove {run.path / FILE} to log it anew elsewhere"
        )
    return book


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "wandb",
        "Log a run's shards to Weights & Biases as they are done, until the run ends: rate, share\n"
        "of successes and failures of each shard and of all so far, under the names that\n"
        "img2dataset uses. It reads the run directory only, so compute nodes need no internet.",
        "examples:\n"
        "  hpcpipe wandb runs/download/first --project laion   until the run ends\n"
        "  hpcpipe wandb runs/download/first --once            what is done by now\n"
        "  WANDB_MODE=offline hpcpipe wandb runs/download/first   into files, for wandb sync\n"
        "\nIt can be ended and started again at any time: no shard is logged twice. Offline, each\n"
        "start makes a folder in RUN/wandb: wandb sync the first, the others with --append.",
    )
    parser.add_argument(
        "--project",
        help=f"project there; otherwise $WANDB_PROJECT, or {PROJECT}",
    )
    parser.add_argument("--once", action="store_true", help="do not wait for the run's end")
    return parser.parse_args(argv)
