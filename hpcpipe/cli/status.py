"""``hpcpipe status``: how far a run is, who works on it, and what went wrong."""

import argparse
import gc
import json
import sys
import time
from typing import Any

import msgspec

from hpcpipe.cli import status_text, text
from hpcpipe.cli.verb import run_list, verb_parser
from hpcpipe.cli.watch import LIVE, Watcher
from hpcpipe.runtime.find import find_run, read_options
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
    if args.run is None:
        print("\n".join(run_list()))
        return 0
    # Hundreds of thousands of records are about to be made, and none of them is garbage.
    gc.disable()
    run = find_run(args.run)
    watcher = Watcher(Observer(run, read_options(run)))
    if args.watch is None:
        _show(*watcher.look(), as_json=args.json, clear=False)
        return 0
    gc.freeze()
    gc.enable()
    try:
        while True:
            summary, queue = watcher.look()
            _show(summary, queue, as_json=args.json, clear=sys.stdout.isatty())
            if summary.state not in LIVE:
                return 0
            time.sleep(args.watch)
    except KeyboardInterrupt:
        return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "status",
        "Show how far a run is: shards by state, rate, time left, workers, failures by class\n"
        "with the log to open. Without RUN, list the newest runs.",
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
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser.parse_args(argv)


def _seconds(given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds < 86400:
        raise argparse.ArgumentTypeError(f"{given!r}: give seconds, 0.1 or more, after RUN")
    return seconds


def _show(summary: Summary, queue: dict[str, int], *, as_json: bool, clear: bool) -> None:
    if as_json:
        tree: dict[str, Any] = {**msgspec.to_builtins(summary), "queue": queue}
        print(json.dumps(tree), flush=True)
        return
    rows = status_text.lines(summary, queue, text.terminal_width())
    print((_CLEAR if clear else "") + "\n".join(rows), flush=True)
