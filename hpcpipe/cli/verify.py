"""``hpcpipe verify``: check that every recorded output is there as recorded."""

import argparse
import os
import sys
from collections import Counter

from hpcpipe.cli.go_on import go_on
from hpcpipe.cli.verb import run_of, shown, verb_parser
from hpcpipe.config import RunOptions
from hpcpipe.console import plural, say
from hpcpipe.formats.remote import display
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.access import check_writable
from hpcpipe.runtime.changes import reset_shards
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.results import Finding, check_outputs_in_threads, collect_results
from hpcpipe.runtime.summary import Observer
from hpcpipe.stage import ShardResult

NUM_THREADS = 8
EXIT_FOUND = 3


def main(argv: list[str]) -> int:
    """Check a run's outputs.

    Args:
        argv: arguments after the verb.

    Returns:
        0 all as recorded and complete; 3 something is not as recorded, or shards are
        quarantined; 4 shards are not done yet.

    Raises:
        HpcPipeError: there is no such run, or it may not be written by this user.
        OSError: the run directory cannot be read or written.
        SystemExit: the arguments are wrong, or help was asked for.
    """
    args = _parse(argv)
    run = run_of(args, "verify")
    options = read_options(run)
    observer = Observer(run, options)
    code, number = observer.refresh()
    results = list(collect_results(run, observer.state).values())
    findings = _check(run, options, results, deep=args.deep)
    _report(findings, results, deep=args.deep)
    rest = [f"{number[s]:,} {s}" for s in ("pending", "quarantined") if number[s]]
    if rest:
        print(f"not done   {', '.join(rest)}: python -m hpcpipe status {shown(run.path)}")
    elif run.info.has_finalize and not observer.state.is_done(FINALIZE):
        print(f"not done   the last step (finalize): python -m hpcpipe status {shown(run.path)}")
    if args.requeue:
        _requeue(run, observer, findings)
    elif findings:
        print(f"redo       python -m hpcpipe verify {shown(run.path)} --requeue")
    return EXIT_FOUND if findings else code


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = verb_parser(
        "verify",
        "Check every output that the run recorded: it is there and has the recorded size and,\n"
        "with --deep, the recorded content.",
        "examples:\n"
        "  hpcpipe verify runs/reshard/first            names and sizes\n"
        "  hpcpipe verify /data/out --deep --requeue    read all; what is wrong is done again\n"
        "\nexit codes: 0 complete and as recorded, 3 something is not as recorded or shards are\n"
        "quarantined, 4 shards are not done yet",
    )
    parser.add_argument("--deep", action="store_true", help="read every file, compare checksums")
    parser.add_argument(
        "--requeue", action="store_true", help="make shards with missing or wrong files pending"
    )
    return parser.parse_args(argv)


def _check(
    run: RunDir, options: RunOptions, results: list[ShardResult], *, deep: bool
) -> list[Finding]:
    from tqdm import tqdm

    folder = OutputFolder(run.info.output, options.checksum)
    num_threads = max(NUM_THREADS, len(os.sched_getaffinity(0))) if deep else NUM_THREADS
    checked = check_outputs_in_threads(folder, results, deep=deep, num_threads=num_threads)
    findings: list[Finding] = []
    is_quiet = not sys.stderr.isatty()
    for found in tqdm(checked, total=len(results), unit="shard", disable=is_quiet, leave=False):
        findings += found
    return findings


def _report(findings: list[Finding], results: list[ShardResult], *, deep: bool) -> None:
    for finding in findings:
        say(f"{finding.problem:10} {display(finding.path)}: {finding.detail}")
    num_files = sum(len(result.outputs) for result in results)
    num_shards = sum(result.shard_id != FINALIZE for result in results)
    how = "names, sizes and contents" if deep else "names and sizes"
    print(f"checked    {plural(num_files, 'file')} of {plural(num_shards, 'shard')}: {how}")
    if findings:
        kinds = Counter(finding.problem for finding in findings).most_common()
        counts = ", ".join(f"{number:,} {problem}" for problem, number in kinds)
        print(f"found      {counts}")
    else:
        print("found      nothing wrong")


def _requeue(run: RunDir, observer: Observer, findings: list[Finding]) -> None:
    wrong = {f.shard_id for f in findings if f.problem != "unreadable"}
    ids = sorted(wrong - {FINALIZE})
    if wrong:
        check_writable(run, run.path, run.journal)
        reset_shards(run, observer.state, ids)
        print(f"requeued   {plural(len(ids), 'shard')}")
        say("\n".join(go_on(run.path, run.read_launches())))
    if any(finding.problem == "unreadable" for finding in findings):
        print("left       unreadable files: see to their permissions or their filesystem first")
