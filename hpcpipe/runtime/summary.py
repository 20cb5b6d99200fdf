"""How far a run is: counts, rate, failures by class, workers; what `status` shows."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from hpcpipe.config import Config
from hpcpipe.manifest.heartbeat import Beat, Identity, process_runs, read_beat
from hpcpipe.manifest.journal import FINALIZE, Event, JournalReader
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.state import RunState, ShardStatus
from hpcpipe.runtime.results import counts, open_state

RATE_WINDOW_S = 600.0


class WorkerView(msgspec.Struct, frozen=True):
    """One worker as its files show it.

    Attributes:
        identity: who it is.
        beat: its last beat.
        state: ``running``; ``silent`` (beats too old, or its process is gone); ``ended``.
    """

    identity: Identity
    beat: Beat
    state: str


class FailureClass(msgspec.Struct, frozen=True):
    """Failures of one class among shards that are not done.

    Attributes:
        error_class: class name.
        quarantined: shards that are not tried again before a retry.
        pending: shards that will be.
        example: a message of one of them.
        shard: that shard.
        log: the log file that has it.
    """

    error_class: str
    quarantined: int
    pending: int
    example: str
    shard: str
    log: str


class Summary(msgspec.Struct, frozen=True):
    """A run at one moment.

    Attributes:
        run_dir: the run directory.
        stage: stage name.
        run_name: label.
        output: output folder.
        state: ``complete``, ``running``, ``quarantined`` (only those are left) or ``incomplete``.
        num_shards: shards in the plan.
        done: finished ones.
        pending: ones still to be done.
        quarantined: ones that failed for good.
        finalize: state of the last step; empty where the stage has none.
        shards_per_s: rate of the last ten minutes, 0 where nothing was finished.
        eta_s: seconds to the end at that rate; None where it cannot be told.
        stats: counters of all finished shards, summed.
        num_bytes_out: bytes of all finished outputs.
        workers: the workers, running ones first.
        failures: failures by class.
        launches: what was started.
    """

    run_dir: str
    stage: str
    run_name: str
    output: str
    state: str
    num_shards: int
    done: int
    pending: int
    quarantined: int
    finalize: str
    shards_per_s: float
    eta_s: float | None
    stats: dict[str, int | float]
    num_bytes_out: int
    workers: list[WorkerView]
    failures: list[FailureClass]
    launches: list[Launch]


def summarize(run: RunDir, config: Config) -> Summary:
    """Read a run's state.

    Args:
        run: the run directory.
        config: its config.

    Returns:
        The summary.

    Raises:
        PlanError: the plan is damaged.
        OSError: a file cannot be read.
    """
    state, _ = open_state(run, config)
    tally = Tally(state, JournalReader(run.journal).read())
    number = state.counts()
    workers = sorted(read_workers(run, config.run.lease_s), key=lambda w: (w.state != "running",))
    finalize = state.status(FINALIZE) if run.info.has_finalize else ""
    rate = tally.shards_per_s()
    return Summary(
        run_dir=str(run.path),
        stage=run.info.stage,
        run_name=run.info.run_name,
        output=run.info.output,
        state=_overall(number, finalize, any(w.state == "running" for w in workers)),
        num_shards=len(state.plan),
        done=number["done"],
        pending=number["pending"],
        quarantined=number["quarantined"],
        finalize=finalize,
        shards_per_s=rate,
        eta_s=number["pending"] / rate if rate else None,
        stats=dict(sorted(tally.stats.items())),
        num_bytes_out=tally.num_bytes_out,
        workers=workers,
        failures=failures_by_class(run, state, tally.writers),
        launches=run.read_launches(),
    )


def _overall(number: Mapping[ShardStatus, int], finalize: str, running: bool) -> str:
    if number["pending"] == 0 and number["quarantined"] == 0 and finalize in ("", "done"):
        return "complete"
    if running:
        return "running"
    return "incomplete" if number["pending"] or finalize == "pending" else "quarantined"


class Tally:
    """Sums over the events that count."""

    def __init__(self, state: RunState, events: Iterable[tuple[str, Event]]) -> None:
        """Go over all events once.

        Args:
            state: the run's state.
            events: all journals' events with their journal's name.

        Raises:
            Nothing.
        """
        self.stats: Counter[str] = Counter()
        self.num_bytes_out = 0
        self.writers: dict[tuple[str, int], str] = {}
        self._done_at: list[float] = []
        for writer, event in events:
            if event.event == "failed":
                self.writers[event.shard, event.attempt] = writer
            elif event.event == "done" and counts(state, event):
                self.stats.update(event.stats)
                self.num_bytes_out += sum(file.size_bytes for file in event.outputs)
                if event.shard != FINALIZE:
                    self._done_at.append(event.at)

    def shards_per_s(self) -> float:
        """Shards finished a second, over the last ten minutes of work. Raises nothing."""
        if not self._done_at:
            return 0.0
        latest = max(self._done_at)
        recent = [at for at in self._done_at if at > latest - RATE_WINDOW_S]
        span_s = max(latest, min(time.time(), latest + 60.0)) - min(recent)
        return len(recent) / span_s if span_s > 0 else 0.0


def read_workers(run: RunDir, lease_s: float) -> list[WorkerView]:
    """Read all workers' files.

    Args:
        run: the run directory.
        lease_s: a beat older than this (by the two clocks) is silence.

    Returns:
        One view a worker, in order of their names.

    Raises:
        OSError: a file cannot be read.
    """
    views = []
    for path in sorted(run.workers.glob("*.beat")):
        beat = read_beat(path)
        try:
            identity = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Identity)
        except (FileNotFoundError, msgspec.DecodeError):
            continue
        if beat is not None:
            views.append(WorkerView(identity, beat, _worker_state(identity, beat, lease_s)))
    return views


def _worker_state(identity: Identity, beat: Beat, lease_s: float) -> str:
    if beat.state == "ended":
        return "ended"
    runs = process_runs(identity)
    if runs is None:
        runs = time.time() - beat.at < lease_s
    return "running" if runs else "silent"


def failures_by_class(
    run: RunDir, state: RunState, writers: dict[tuple[str, int], str]
) -> list[FailureClass]:
    """Group the last failure of every shard that is not done.

    Args:
        run: the run directory.
        state: its state.
        writers: worker that wrote each failure, by shard and attempt.

    Returns:
        The classes, most shards first.

    Raises:
        Nothing.
    """
    groups: dict[str, list[Event]] = {}
    for shard_id in state.failures:
        failed = [] if state.is_done(shard_id) else state.failed_attempts(shard_id)
        if failed:
            groups.setdefault(failed[-1].error_class, []).append(failed[-1])
    classes = []
    for error_class, events in groups.items():
        num_quarantined = sum(state.status(event.shard) == "quarantined" for event in events)
        first = events[0]
        writer = writers.get((first.shard, first.attempt), "")
        classes.append(
            FailureClass(
                error_class=error_class,
                quarantined=num_quarantined,
                pending=len(events) - num_quarantined,
                example=first.error,
                shard=first.shard,
                log=str(run.logs / f"{writer.rpartition('-')[0]}.log"),
            )
        )
    return sorted(classes, key=lambda c: -(c.quarantined + c.pending))


def exit_code(state: RunState, config: Config, limit: int | None, *, has_finalize: bool) -> int:
    """Code a command about a run exits with.

    Args:
        state: the run's state.
        config: its config.
        limit: look only at so many shards from the plan's start.
        has_finalize: whether a last step follows the shards.

    Returns:
        0 all done, 3 shards are quarantined, 4 something is still to be done.

    Raises:
        Nothing.
    """
    number = state.counts(limit)
    if number["pending"]:
        return 4
    if number["quarantined"] > config.run.max_failed_fraction * sum(number.values()):
        return 3
    is_whole = limit is None or limit >= len(state.plan)
    if has_finalize and is_whole and not state.is_done(FINALIZE):
        return 3 if state.status(FINALIZE) == "quarantined" else 4
    return 0
