"""What happened to one shard: its attempts, and the log lines that speak of it."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from hpcpipe.manifest.journal import FINALIZE, Event
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.workers import WorkerView

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%z"
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}) (\w+) ")


class Attempt(NamedTuple):
    """One entry of a shard's history.

    Attributes:
        number: number of the attempt; for a reset, the last one that is forgotten.
        outcome: what became of it.
        worker: unique name of the worker; empty where unknown.
        host: where it ran.
        ended_at: Unix time in seconds; when it began, for ``running``.
        seconds: how long it took, where known.
        error: message, and its class; empty without one.
    """

    number: int
    outcome: Literal["done", "failed", "given back", "lost", "reset", "running"]
    worker: str
    host: str
    ended_at: float
    seconds: float
    error: str


def attempts(
    state: RunState,
    shard_id: str,
    events: Iterable[tuple[str, Event]],
    workers: Iterable[WorkerView],
) -> list[Attempt]:
    """Collect the history of one shard.

    Args:
        state: the run's state.
        shard_id: the shard.
        events: all events of the run with their journals' names.
        workers: the run's workers.

    Returns:
        Its attempts and resets in order; one that runs now comes last.

    Raises:
        Nothing.
    """
    block = state.block_name(shard_id)
    found = [
        _attempt(writer, event)
        for writer, event in events
        if event.shard == shard_id or (event.block == block and event.event in ("closed", "lost"))
    ]
    ended = {(a.worker, a.number) for a in found if a.outcome in ("done", "failed")}
    # A block's attempt is closed after its shards have failed: that says nothing more of them.
    found = [a for a in found if a.outcome != "given back" or (a.worker, a.number) not in ended]
    running = [
        Attempt(0, "running", v.identity.name, v.identity.node or v.identity.host,
                v.beat.shard_since, 0.0, "")
        for v in workers
        if v.state == "running" and v.beat.shard == shard_id
    ]  # fmt: skip
    return sorted(found, key=lambda a: (a.ended_at, a.number)) + running


def _attempt(writer: str, event: Event) -> Attempt:
    outcome: Literal["done", "failed", "given back", "lost", "reset"]
    match event.event:
        case "closed":
            outcome = "given back"
        case "done" | "failed" | "lost" | "reset" as same:
            outcome = same
    error = f"{event.error_class}: {event.error}" if event.error else ""
    return Attempt(
        number=event.attempt,
        outcome=outcome,
        worker=event.owner or writer,
        host=event.host,
        ended_at=event.at,
        seconds=event.seconds,
        error=error,
    )


def log_records(path: Path) -> Iterator[tuple[float, str, str]]:
    """Read a worker's log, keeping lines that belong together (tracebacks) together.

    Args:
        path: the log.

    Yields:
        Unix time in seconds, level and text of each record; lines before the first record
        carry time 0 and no level.

    Raises:
        OSError: it cannot be read.
    """
    at, level, lines = 0.0, "", list[str]()
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            match = _LINE.match(line)
            if match is None:
                lines.append(line)
                continue
            if lines:
                yield at, level, "".join(lines)
            at = datetime.strptime(match[1], _TIME_FORMAT).timestamp()
            level, lines = match[2], [line]
    if lines:
        yield at, level, "".join(lines)


def speaks_of(shard_id: str) -> re.Pattern[str]:
    """Pattern of a text that names a shard, and not another one whose id contains it.

    Args:
        shard_id: the shard.

    Returns:
        The pattern.

    Raises:
        Nothing.
    """
    name = "finalize|" + re.escape(FINALIZE) if shard_id == FINALIZE else re.escape(shard_id)
    return re.compile(rf"(?<![\w./@-])(?:{name})(?![\w/-]|\.\w)")


def records_of(path: Path, shard_id: str, spans: Iterable[tuple[float, float]]) -> Iterator[str]:
    """Pick the records of a log that speak of a shard or were written while it was worked on.

    Args:
        path: the log.
        shard_id: the shard.
        spans: when it was worked on by this worker: begin and end as Unix times in seconds.

    Yields:
        Texts of the records.

    Raises:
        OSError: the log cannot be read.
    """
    names, spans = speaks_of(shard_id), list(spans)
    for at, _, record in log_records(path):
        # A log's times are whole seconds: only those surely inside an attempt count.
        if names.search(record) or any(begin <= at and at + 1 <= end for begin, end in spans):
            yield record
