"""The texts that `logs` prints."""

import os
from collections.abc import Iterable
from pathlib import Path

from hpcpipe.cli import text
from hpcpipe.cli.verb import shown
from hpcpipe.console import plural, size
from hpcpipe.launch.not_started import WROTE_NOTHING, NotStarted, last_lines
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import ShardStatus
from hpcpipe.runtime.failures import log_path
from hpcpipe.runtime.history import Attempt, records_of
from hpcpipe.runtime.workers import WorkerView

FEW_LOGS = 3
FEW_BYTES = 32 << 10
TAIL_BYTES = 256 << 10
_MAX_OUTPUTS = 8
_BAD_LEVELS = ("ERROR", "CRITICAL")


def overview(
    run: RunDir, workers: Iterable[WorkerView], not_started: Iterable[NotStarted]
) -> list[str]:
    """Describe all logs of a run, those with errors first; where they are few, print them.

    Args:
        run: the run.
        workers: its workers.
        not_started: workers that have never begun.

    Returns:
        The lines.

    Raises:
        OSError: a log cannot be read.
    """
    paths = sorted(path for path in run.logs.glob("*.log"))
    sizes = {path: path.stat().st_size for path in paths}
    if not paths:
        lines = [f"no worker of {shown(run.path)} has written a log yet"]
    elif len(paths) <= FEW_LOGS and sum(sizes.values()) <= FEW_BYTES:
        lines = [line for path in paths for line in _whole(path)]
    else:
        states = {view.identity.label: view.state for view in workers}
        errors = {path: _last_error(path) for path in paths}
        paths.sort(key=lambda path: not errors[path])
        rows = [(states.get(p.stem, ""), size(sizes[p]), shown(p)) for p in paths]
        width = text.terminal_width()
        lines = []
        for path, line in zip(paths, text.table(rows, right=frozenset({1})), strict=True):
            lines += [line, text.cut(f"    {errors[path]}", width)] if errors[path] else [line]
    return lines + _never_began(not_started)


def _whole(path: Path) -> list[str]:
    content = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [f"==> {shown(path)} <==", *content, ""]


def _last_error(path: Path) -> str:
    """First line of the last error in the last part of a log."""
    last = ""
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
        for line in file:
            if any(f" {level} ".encode() in line[:40] for level in _BAD_LEVELS):
                last = line.decode("utf-8", "replace").rstrip()
    return last


def _never_began(items: Iterable[NotStarted]) -> list[str]:
    """Where to look for the reason when workers died before they had a log of their own."""
    lines = []
    for item in items:
        if item.num_ended:
            what = f"{plural(item.num_ended, 'worker')} of array {item.array_job} ended without "
            lines.append(f"{what}starting; what they wrote:")
        else:
            what = f"launch {item.launch}: {item.num_missing:,} of {item.num_workers:,} workers"
            lines.append(f"{what} have not begun; what SLURM or the launcher has of them:")
        for path in map(Path, item.outputs[:_MAX_OUTPUTS]):
            lines += [f"  {shown(path)}", *(f"    {line}" for line in last_lines(path, 1))]
        if not item.outputs:
            lines.append(f"  {_nothing(item)}")
        if len(item.outputs) > _MAX_OUTPUTS:
            lines.append(f"  and {len(item.outputs) - _MAX_OUTPUTS:,} more there")
    return ["", *lines] if lines else []


def _nothing(item: NotStarted) -> str:
    if item.num_ended:
        return WROTE_NOTHING.format(item.array_job)
    if item.num_ended is None:
        return "nothing yet (they may be waiting in the queue)"
    return "nothing yet (they are waiting in the queue, or just starting)"


def shard(run: RunDir, shard_id: str, status: ShardStatus, history: list[Attempt]) -> list[str]:
    """Tell what became of a shard.

    Args:
        run: the run.
        shard_id: the shard.
        status: its state.
        history: its attempts.

    Returns:
        The lines.

    Raises:
        OSError: a log cannot be read.
    """
    lines = [f"shard      {shard_id}", f"state      {status}"]
    lines += [_attempt(item) for item in history] or ["attempts   none yet"]
    spans: dict[str, list[tuple[float, float]]] = {}
    for item in history:
        path = log_path(run, item.worker)
        if path and Path(path).is_file():
            span = (item.ended_at - item.seconds, item.ended_at)
            spans.setdefault(path, []).append(
                (item.ended_at, float("inf")) if item.outcome == "running" else span
            )
    for path, times in spans.items():
        records = [record.rstrip("\n") for record in records_of(Path(path), shard_id, times)]
        lines += ["", f"==> {shown(path)} <==", *records]
    return lines


def _attempt(item: Attempt) -> str:
    where = item.worker.rpartition("-")[0] or item.worker
    host = f" on {item.host}" if item.host else ""
    at = text.moment(item.ended_at)
    if item.outcome == "running":
        return f"running    {where}{host} since {at}"
    if item.outcome == "reset":
        return f"reset      {at}: attempts through {item.number} count no more"
    took = f" after {text.duration(item.seconds)}" if item.seconds else ""
    error = f": {item.error}" if item.error else ""
    return f"attempt {item.number:<2} {item.outcome} {at}{took}, {where}{host}{error}"
