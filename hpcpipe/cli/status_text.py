"""The text that `status` shows of one run."""

import time
from collections import Counter
from pathlib import Path

from hpcpipe.cli import text
from hpcpipe.cli.go_on import go_on
from hpcpipe.cli.samples_text import live_words, sample_lines
from hpcpipe.cli.verb import shown
from hpcpipe.cli.watch import Queue
from hpcpipe.console import size
from hpcpipe.launch.not_started import NotStarted, describe
from hpcpipe.runtime.accounting import samples, used_in_words
from hpcpipe.runtime.code import notes
from hpcpipe.runtime.contact_sheet import FILE
from hpcpipe.runtime.failures import FailureClass
from hpcpipe.runtime.summary import Summary
from hpcpipe.runtime.workers import WorkerView

MAX_BAR = 40
_NUM_NOTES = 5


def lines(summary: Summary, queue: Queue, width: int) -> list[str]:
    """Show a run.

    Args:
        summary: the run.
        queue: what SLURM says.
        width: characters a line.

    Returns:
        The lines.

    Raises:
        OSError: the output of a worker that never began cannot be read.
    """
    parts = [*_head(summary, width), *_workers(summary, queue, width)]
    parts += _failures(summary.failures, width)
    for node in summary.bad_nodes:
        parts.append(f"bad node   {node}; workers leave it, and the next launch leaves it out")
    return [*parts, *_advice(summary)]


def _head(summary: Summary, width: int) -> list[str]:
    counts = ((summary.pending, "pending"), (summary.quarantined, "quarantined"))
    rest = "".join(f", {number:,} {state}" for number, state in counts if number)
    bar = text.bar(summary.done, summary.num_shards, max(min(MAX_BAR, width - 44), 10))
    eta = "" if summary.eta_s is None else f"  ETA {text.duration(summary.eta_s)}"
    head = [
        f"run        {shown(summary.run_dir)}",
        f"output     {summary.output}",
        f"state      {summary.state:11} {bar}{eta}",
        f"shards     {summary.done:,} of {summary.num_shards:,} done{rest}",
    ]
    workers = [view.identity for view in summary.workers]
    head += [f"plan       {line}" for line in summary.plan_remarks]
    head += [f"code       {line}" for line in notes(summary.launches, workers)]
    sheet = Path(summary.run_dir) / FILE
    if sheet.exists():
        head.append(f"sheet      {shown(sheet)}")
    if summary.stopping and summary.state != "complete":
        head.append("stopping   a STOP file is there: no worker claims more until the next launch")
    if summary.finalize:
        head.append(f"finalize   {summary.finalize}")
    if summary.done:
        head.append(f"rate       {_speed(summary)}")
    if used := used_in_words(summary.accounting):
        head.append(f"used       {used}")
    return head + sample_lines(summary, width)


def _speed(summary: Summary) -> str:
    """How fast it goes now, and how much it was in all."""
    parts = [text.rate(summary.recent.shards_per_s)]
    if summary.recent.samples_per_s:
        parts.append(f"{samples(summary.recent.samples_per_s)}/s")
    for num_bytes, what in ((summary.bytes_in, "read"), (summary.bytes_out, "written")):
        if num_bytes:
            parts.append(f"{size(num_bytes)} {what}")
    return ", ".join(parts)


def _workers(summary: Summary, queue: Queue, width: int) -> list[str]:
    states = Counter(view.state for view in summary.workers)
    parts = [f"{states[state]:,} {state}" for state in ("running", "ended") if states[state]]
    parts += _queued(queue)
    if states["silent"]:
        parts.append(f"{states['silent']:,} silent (killed, or their node is gone)")
    num_ended = sum(item.num_ended or 0 for item in queue.not_started)
    if num_ended:
        parts.append(f"{num_ended:,} ended without starting")
    rows = ["", f"workers    {', '.join(parts) or 'none yet'}"]
    rows += _running([view for view in summary.workers if view.state == "running"], width)
    notes = Counter(v.beat.note for v in summary.workers if v.state == "ended" and v.beat.note)
    rows += [
        text.cut(f"  {number:,} ended early: {' '.join(note.split())}", width)
        for note, number in notes.most_common(_NUM_NOTES)
    ]
    return rows + _not_started(queue.not_started, width)


def _queued(queue: Queue) -> list[str]:
    """Tasks by state, and why the pending ones wait."""
    reasons = [f"{number:,} {reason}" for reason, number in queue.reasons.items()]
    if list(queue.reasons.values()) == [queue.states.get("PENDING")]:
        reasons = list(queue.reasons)
    why = f" ({', '.join(reasons)})" if reasons else ""
    return [
        f"{number:,} {state.lower()} in the queue{why if state == 'PENDING' else ''}"
        for state, number in queue.states.items()
    ]


def _not_started(items: list[NotStarted], width: int) -> list[str]:
    return [text.cut(f"  {line}", width) for item in items for line in describe(item)]


def _running(views: list[WorkerView], width: int) -> list[str]:
    """One line a worker: who, where, what it does and for how long, what it did."""
    if not views:
        return []
    now = time.time()
    rows = []
    for view in views:
        beat = view.beat
        since = beat.shard_since if beat.shard else view.identity.started_at
        used, idle = beat.used, view.idle_share
        rate, made = live_words(view.live)
        if not rate and view.samples_per_s and not view.beat.num_samples:
            rate = f"{samples(view.samples_per_s)}/s"
        rows.append(
            [
                view.identity.label,
                view.identity.node or view.identity.host,
                text.duration(now - since),
                f"{used.num_done:,} done",
                f"{used.num_failed:,} failed" if used.num_failed else "",
                rate,
                made,
                f"{idle:.0%} idle" if idle is not None and used.num_done else "",
                beat.shard or beat.state,
            ]
        )
    lead = text.table([row[:-1] for row in rows], right=frozenset({2, 3, 4, 5, 6, 7}))
    room = max(width - max(map(len, lead)) - 4, 12)
    pad = max(map(len, lead))
    shown = []
    for line, row, view in zip(lead, rows, views, strict=True):
        shown.append(f"  {line:{pad}}  {text.cut_front(row[-1], room)}")
        if view.beat.remark:
            shown.append(text.cut(f"    {' '.join(view.beat.remark.split())}", width))
    return shown


def _failures(failures: list[FailureClass], width: int) -> list[str]:
    rows = []
    for failure in failures:
        kinds = [f"{failure.quarantined:,} quarantined"] if failure.quarantined else []
        if failure.pending:
            later = "to be tried again" if failure.charged else "given back, not their fault"
            kinds.append(f"{failure.pending:,} {later}")
        where = f" on {failure.host}" if failure.host else ""
        rows += [
            f"  {failure.error_class}: {', '.join(kinds)}",
            *_ids(failure, width),
            text.cut(f"    e.g. {failure.shard}{where}:", width),
            *(f"      {line}" for line in failure.example.splitlines()[:4]),
        ]
        if failure.log:
            rows.append(f"    log  {shown(failure.log)}")
    return ["", "failures", *rows] if rows else []


def _ids(failure: FailureClass, width: int) -> list[str]:
    """Which shards they are, where that is more than the example."""
    num_shards = failure.quarantined + failure.pending
    if num_shards == 1:
        return []
    ids = failure.shards
    room = width - len(f"    shards  , and {num_shards:,} more")
    while len(ids) > 1 and len(", ".join(ids)) > room:
        ids = ids[:-1]
    rest = f" and {num_shards - len(ids):,} more" if num_shards > len(ids) else ""
    return [f"    shards  {', '.join(ids)}{rest}"]


def _advice(summary: Summary) -> list[str]:
    """The commands that go on from here."""
    run = shown(summary.run_dir)
    rows = []
    is_quarantined = summary.quarantined or summary.finalize == "quarantined"
    if is_quarantined:
        classes = {failure.error_class for failure in summary.failures if failure.quarantined}
        what = "inputs are" if classes == {"BadInputError"} else "cause is"
        hint = f"(once the {what} mended; then launch it again)"
        rows.append(f"retry      python -m hpcpipe retry {run}    {hint}")
    if summary.failures:
        shard = summary.failures[0].shard
        rows.append(f"look       python -m hpcpipe logs {run} {shown(shard)}")
    if summary.state == "incomplete":
        rows += go_on(summary.run_dir, summary.launches)
    elif summary.state in ("running", "queued"):
        rows.append(f"cancel     python -m hpcpipe cancel {run}")
    return ["", *rows] if rows else []
