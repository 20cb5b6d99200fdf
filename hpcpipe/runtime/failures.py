"""What went wrong in a run, grouped so that a thousand equal failures are one line."""

from collections.abc import Iterator

import msgspec

from hpcpipe.manifest.journal import Brief
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.tally import Tally

WORKER_LOST = "WorkerLost"
MAX_IDS = 10


class FailureClass(msgspec.Struct, frozen=True):
    """Failures of one class among shards that are not done.

    Attributes:
        error_class: class name; ``WorkerLost`` where no worker lived to tell.
        quarantined: shards that are not tried again before a retry.
        pending: shards that will be.
        charged: False for failures of the machine, which never quarantine a shard.
        example: a message of one of them.
        shard: that shard.
        shards: the first shards of the class, quarantined ones first.
        host: where it failed.
        log: the log file that has it.
    """

    error_class: str
    quarantined: int
    pending: int
    charged: bool
    example: str
    shard: str
    shards: list[str]
    host: str
    log: str


class _Failure(msgspec.Struct, frozen=True):
    error_class: str
    charged: bool
    shard: str
    message: str
    host: str
    writer: str


def log_path(run: RunDir, worker: str) -> str:
    """Path of a worker's log.

    Args:
        run: the run directory.
        worker: the worker's unique name, as its journal is called.

    Returns:
        The path; empty where the worker is not known.

    Raises:
        Nothing.
    """
    label = worker.rpartition("-")[0]
    return str(run.logs / f"{label}.log") if label else ""


def failures_by_class(run: RunDir, state: RunState, tally: Tally) -> list[FailureClass]:
    """Group the last failure of every shard that is not done.

    Args:
        run: the run directory.
        state: its state.
        tally: made of the same events.

    Returns:
        The classes, most shards first.

    Raises:
        Nothing.
    """
    groups: dict[tuple[str, bool], dict[str, _Failure]] = {}
    for failure in (*_charged(state, tally), *_lost(state, tally), *_environment(state, tally)):
        group = groups.setdefault((failure.error_class, failure.charged), {})
        group.setdefault(failure.shard, failure)
    quarantined = {shard for group in groups.values() for shard in group}
    quarantined = {shard for shard in quarantined if state.status(shard) == "quarantined"}
    classes = []
    for (error_class, charged), group in groups.items():
        num_quarantined = len(quarantined.intersection(group)) if charged else 0
        ids = sorted(group, key=lambda shard: shard not in quarantined)
        first = group[ids[0]]
        classes.append(
            FailureClass(
                error_class=error_class,
                quarantined=num_quarantined,
                pending=len(group) - num_quarantined,
                charged=charged,
                example=first.message,
                shard=first.shard,
                shards=ids[:MAX_IDS],
                host=first.host,
                log=log_path(run, first.writer),
            )
        )
    return sorted(classes, key=lambda c: -(c.quarantined + c.pending))


def _charged(state: RunState, tally: Tally) -> Iterator[_Failure]:
    for shard_id in state.failures:
        failed = [] if state.is_done(shard_id) else state.failed_attempts(shard_id)
        if failed:
            event = failed[-1]
            writer = tally.writers.get((event.shard, event.attempt), "")
            yield _Failure(event.error_class, True, shard_id, event.error, event.host, writer)


def _lost(state: RunState, tally: Tally) -> Iterator[_Failure]:
    """Shards quarantined because too many workers died over them."""
    for block, event in tally.lost.items():
        for shard_id in _open_shards(state, block):
            hosts = state.lost_hosts(shard_id)
            if state.status(shard_id) == "quarantined" and not state.failed_attempts(shard_id):
                text = f"{len(hosts)} workers died over it, on {', '.join(sorted(set(hosts)))}"
                yield _Failure(WORKER_LOST, True, shard_id, text, event.host, event.owner)


def _environment(state: RunState, tally: Tally) -> Iterator[_Failure]:
    """Shards given back for no fault of theirs, and not done since."""
    for block, (writer, event) in tally.given_back.items():
        if event.attempt < state.next_attempt(block) - 1:
            continue
        for shard_id in _open_shards(state, block):
            if state.status(shard_id) == "pending":
                yield _environment_failure(shard_id, writer, event)


def _environment_failure(shard_id: str, writer: str, event: Brief) -> _Failure:
    return _Failure(event.error_class, False, shard_id, event.error, event.host, writer)


def _open_shards(state: RunState, block: str) -> list[str]:
    if not block.isdecimal():
        return []
    ids = [state.plan.ids[index] for index in state.plan.block(int(block))]
    return [shard_id for shard_id in ids if not state.is_done(shard_id)]
