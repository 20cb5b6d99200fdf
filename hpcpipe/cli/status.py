"""``hpcpipe status``: how far a run is, who works on it, and what went wrong."""

import argparse
import contextlib
import gc
import json
import sys
import time
from collections.abc import Iterator

from hpcpipe.cli import pipeline_verbs, status_json, status_text, text
from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.pipeline_text import pipeline_list
from hpcpipe.cli.verb import run_list, run_of, runs_folder, verb_parser
from hpcpipe.cli.watch import LIVE, Queue, Watcher
from hpcpipe.console import say
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.summary import Observer, Summary

_CLEAR = "\x1b[H\x1b[2J"


def main(argv: list[str]) -> int:
    """Show a run, or list the newest ones.

    Args:
        argv: arguments after the verb.

    Returns:
        0 whenever the state could be shown, whatever it is.

    Raises:
        HpcPipeError: there is no such run, or it is damaged.
        OSError: the run directory cannot be read.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    if args.run is None and not args.json and args.watch is None:
        say("\n".join([*run_list(), *pipeline_list()]))
        return 0
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is not None:
        return pipeline_verbs.status(pipeline, as_json=args.json, every_s=args.watch)
    run = run_of(args, "status")
    with _without_collection():
        watcher = Watcher(Observer(run, read_options(run)))
        summary, queue = watcher.look()
    clear = args.watch is not None and sys.stdout.isatty()
    _show(summary, queue, as_json=args.json, clear=clear)
    if args.watch is None:
        return 0
    try:
        while summary.state in LIVE:
            time.sleep(args.watch)
            summary, queue = watcher.look()
            _show(summary, queue, as_json=args.json, clear=clear)
    except KeyboardInterrupt:
        return 0
    return 0


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Make hundreds of thousands of records without looking for garbage among them."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "status",
        "Show how far a run is: shards by state, rate, time left, workers, failures by class\n"
        "with the log to open. Of a pipeline, show its steps. Without RUN, list the newest runs.",
        "examples:\n"
        "  hpcpipe status                     the newest runs\n"
        "  hpcpipe status runs/reshard/first  one of them\n"
        "  hpcpipe status /data/out --watch   the run that makes /data/out, until it ends\n"
        "\nThe exit code is 0 whenever the state could be shown; the state is in the text.",
    )
    parser.add_argument(
        *("--watch", "-w"),
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="draw it anew until the run ends, every 2 seconds or as given; Ctrl-C ends",
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON (docs/status-json.md)"
    )
    return parser.parse_args(argv)


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds < 86400:
        raise argparse.ArgumentTypeError(f"{given!r}: give seconds, 0.1 or more, after RUN")
    return seconds


def _show(summary: Summary, queue: Queue, *, as_json: bool, clear: bool) -> None:
    if as_json:
        print(json.dumps(status_json.tree(summary, queue)), flush=True)
        return
    rows = status_text.lines(summary, queue, text.terminal_width())
    sys.stdout.write(_CLEAR if clear else "")
    say("\n".join(rows))
