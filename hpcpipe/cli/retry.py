"""``hpcpipe retry``: make shards of a run pending again."""

import argparse
import difflib

from hpcpipe.cli import pipeline_verbs
from hpcpipe.cli.find_pipeline import named_pipeline
from hpcpipe.cli.go_on import go_on
from hpcpipe.cli.verb import run_of, runs_folder, verb_parser
from hpcpipe.console import plural, say
from hpcpipe.errors import ConfigError
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.access import check_writable
from hpcpipe.runtime.changes import reset_shards, retake_inputs
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.unmade import FAILED
from hpcpipe.runtime.workers import read_workers

_MAX_UNKNOWN = 5


def main(argv: list[str]) -> int:
    """Reset shards, and say what will do them again.

    Args:
        argv: arguments after the verb.

    Returns:
        0, also where there was nothing to reset.

    Raises:
        HpcPipeError: there is no such run or shard, or the run may not be written by this user.
        OSError: the run directory cannot be written.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    pipeline = named_pipeline(args.run, runs_folder())
    if pipeline is None:
        run = run_of(args, "retry")
        if _retry(run, args):
            say("\n".join(go_on(run.path, run.read_launches())))
        return 0
    if args.all or args.shard:
        raise ConfigError(
            f"{args.run} is a pipeline: for --all and --shard name the run of one of its steps: "
            f"python -m hpcpipe status {args.run}"
        )
    return pipeline_verbs.retry(pipeline, lambda run: _retry(run, args))


def _retry(run: RunDir, args: argparse.Namespace) -> bool:
    options = read_options(run)
    observer = Observer(run, options)
    observer.refresh()
    state = observer.state
    ids = _chosen(args, state)
    is_finalize_failed = run.info.has_finalize and state.status(FINALIZE) == "quarantined"
    if not ids and not is_finalize_failed:
        print("no shard is quarantined, nothing to retry")
        unmade = observer.summarize().unmade
        num_failed = sum(one.number for one in unmade if one.why.startswith(FAILED))
        if num_failed:
            print(
                f"{plural(num_failed, 'sample')} failed inside finished shards: where the "
                "stage can try them again, its launch does so with retry_failed=true"
            )
        return False
    check_writable(run, run.path, run.journal)
    num_done = sum(map(state.is_done, ids))
    num_changed = retake_inputs(run, state, ids)
    reset_shards(run, state, ids)
    print(f"reset      {plural(len(ids), 'shard')}" + _what(num_done, is_finalize_failed))
    if num_changed:
        print(f"inputs     of {plural(num_changed, 'shard')} changed, taken as they are now")
    views = [v for v in read_workers(run, options.lease_s) if v.state == "running"]
    if views:
        at_hand = {view.beat.shard for view in views}.intersection(ids)
        print(f"workers    {plural(len(views), 'running worker')} will do them too")
        if at_hand:
            print(f"           {plural(len(at_hand), 'shard')} at hand will be done once more")
    return not views


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "retry",
        "Make shards of a run pending again, with all their tries. Their outputs stay until\n"
        "new ones replace them. Nothing is started: launch the run again, or leave it to the\n"
        "workers that run. RUN may be a pipeline: the quarantined shards of all its steps.",
        "examples:\n"
        "  hpcpipe retry runs/reshard/first                      those that are quarantined\n"
        "  hpcpipe retry runs/reshard/first --shard part-1/0042  this one, whatever its state\n"
        "  hpcpipe retry runs/reshard/first --all                every shard, done ones too",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--failed", action="store_true", help="quarantined shards (the default)")
    which.add_argument("--all", action="store_true", help="every shard, those that are done too")
    which.add_argument(
        "--shard", action="append", metavar="ID", help="this shard; may be given several times"
    )
    return parser.parse_args(argv)


def _chosen(args: argparse.Namespace, state: RunState) -> list[str]:
    if args.all:
        return list(state.plan.ids)
    if args.shard:
        unknown = [shard for shard in args.shard if state.plan.index(shard) is None]
        if unknown:
            lines = [unknown_shard(shard, state) for shard in unknown[:_MAX_UNKNOWN]]
            raise ConfigError("\n".join(lines))
        return list(dict.fromkeys(args.shard))
    return sorted(state.quarantined())


def unknown_shard(shard_id: str, state: RunState) -> str:
    """Word the message for a shard that the plan does not have.

    Args:
        shard_id: what the user wrote.
        state: the run's state.

    Returns:
        One line, with the nearest id.

    Raises:
        Nothing.
    """
    ids = state.plan.ids
    inside = [known for known in ids if shard_id and shard_id in known]
    near = inside[:1] or difflib.get_close_matches(shard_id, ids[:20_000], n=1)
    hint = f"did you mean {near[0]}?" if near else f"ids look like {ids[0]}"
    return f"the run has no shard {shard_id}: {hint}"


def _what(num_done: int, is_finalize_failed: bool) -> str:
    parts = [f"{num_done:,} of them done before, to be redone"] if num_done else []
    parts += ["the last step (finalize) too"] if is_finalize_failed else []
    return f" ({'; '.join(parts)})" if parts else ""
