"""One worker: claims shards of a run and does them until nothing is left to claim."""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hpcpipe.config import Config
from hpcpipe.errors import ShardError
from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import FINALIZE, Brief, Event, JournalReader
from hpcpipe.manifest.owners import OwnerWatch
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime import devices
from hpcpipe.runtime.access import check_writable, explaining_moves
from hpcpipe.runtime.attempt import Outcome, attempt_shard, process_shard
from hpcpipe.runtime.claimer import Claim, Claimer, Waits
from hpcpipe.runtime.code import notes, stage_hash
from hpcpipe.runtime.context import FinalizeContext, SetupContext, ShardContext
from hpcpipe.runtime.deadline import Deadline, Job
from hpcpipe.runtime.ending import ending, why_charged
from hpcpipe.runtime.events import closed_event, done_event, failed_event, worded
from hpcpipe.runtime.finish import Finish
from hpcpipe.runtime.meter import Meter, given_to_worker
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import FOLDER, Partials, partial_name
from hpcpipe.runtime.results import collect_results, open_state
from hpcpipe.runtime.scratch import scratch_root
from hpcpipe.runtime.session import Session, log_to
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.todo import Todo
from hpcpipe.runtime.watchdog import AtHand, Watchdog
from hpcpipe.stage import Stage

logger = logging.getLogger(__name__)


class WorkerResult(NamedTuple):
    """What a worker did.

    Attributes:
        num_done: shards finished.
        num_failed: attempts that failed.
        stopped: why it ended before everything was claimed; empty for a plain end.
        queued_again: the scheduler will run its job again.
        gave_up: it could not go on though work is left.
    """

    num_done: int
    num_failed: int
    stopped: str
    queued_again: bool = False
    gave_up: bool = False


def run_worker(
    run: RunDir,
    config: Config,
    launch: Launch,
    index: int,
    label: str,
    flag: StopFlag,
    on_event: Callable[[Event], None] = lambda event: None,
    job: Job | None = None,
) -> WorkerResult:
    """Work on a run until nothing is left to claim, or until told to stop.

    Args:
        run: the run directory.
        config: its config.
        launch: the launch this worker belongs to.
        index: the worker's index in that launch.
        label: what people know it by.
        flag: tells it to stop.
        on_event: called with every event this worker records.
        job: the batch job this worker is, if any.

    Returns:
        What it did.

    Raises:
        SetupError: it cannot work at all, and has taken no shard; or its run directory is gone.
        KeyboardInterrupt: interrupted from the terminal; everything is released.
        OSError: the run directory fails.
    """
    check_writable(run)
    state, reader = open_state(run, config)
    scratch = scratch_root(config.run.scratch)
    given = given_to_worker(launch, config.resources)
    meter = Meter(given, whole_process=launch.kind != "here")
    code = stage_hash(type(config.stage))
    session = Session(run, label, launch.number, scratch, config.run.heartbeat_s, meter, code)
    note = "died"
    try:
        with log_to(run.logs / f"{label}.log", label), explaining_moves(run):
            for line in notes([launch], [session.identity]):
                logger.warning("code: %s", line)
            worker = Worker(session, config, launch, index, state, reader, flag, on_event, job)
            result = worker.work()
        note = result.stopped
    except KeyboardInterrupt:
        note = "interrupted"
        raise
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
        raise
    finally:
        session.close(note)
    return result


class Worker:
    """The loop of one worker and what it keeps between shards."""

    def __init__(
        self,
        session: Session,
        config: Config,
        launch: Launch,
        index: int,
        state: RunState,
        reader: JournalReader[Brief],
        flag: StopFlag,
        on_event: Callable[[Event], None],
        job: Job | None,
    ) -> None:
        """Prepare; see `run_worker`. Raises OSError."""
        run, options = session.run, config.run
        self._session = session
        self._meter = session.meter
        self._config = config
        self._stage: Stage = config.stage
        self._state = state
        self._todo = Todo(run, state, launch, launch.first_index + index, options)
        self._flag = flag
        self._on_event = on_event
        self._deadline = Deadline(job)
        self._folder = OutputFolder(run.info.output, options.checksum)
        self._watchdog = Watchdog(session, launch, flag, options, self._deadline)
        self._num_env_failures = 0
        self._stage_state: Any = None
        claims = Claims(run.claims, session.identity_path)
        self._claimer = Claimer(
            state,
            reader,
            claims,
            OwnerWatch(run.workers, session.identity, options.lease_s),
            Waits(
                linger_s=options.linger_s,
                poll_s=min(options.heartbeat_s / 5, 3.0),
                backoff_s=options.backoff_s,
                to_the_end=launch.kind in ("here", "local"),
            ),
            session.identity.name,
            self._record,
            self._no_more_claims,
        )
        self._finish = Finish(
            self._stage, state, self._folder, self._todo, claims, self._claimer, self._record
        )
        session.watchdog = self._watchdog.look

    def work(self) -> WorkerResult:
        """Run the loop; see `run_worker`. Raises as that does."""
        if self._todo.blocks() or self._todo.wants_finalize():
            logger.info("setting up stage %s", type(self._stage).__name__)
            self._stage_state = self._stage.setup(
                SetupContext(self._device(), self._session.scratch, self._session.run.artifacts)
            )
            self._session.heartbeat.update(state="working")
            self._session.heartbeat.beat_now()
            self._claim_all()
        end = ending(self._flag, self._deadline, self._is_work_left)
        if end.note:
            logger.log(logging.ERROR if end.gave_up else logging.INFO, "stopping: %s", end.note)
        num_done, num_failed = self._meter.num_done, self._meter.num_failed
        return WorkerResult(num_done, num_failed, end.note, end.queued_again, end.gave_up)

    def _is_work_left(self) -> bool:
        self._claimer.refresh()
        return self._claimer.any_unattended(self._todo.blocks() or self._todo.finalize())

    def _no_more_claims(self) -> bool:
        return self._flag.no_more_claims() or bool(self._deadline.too_near())

    def _claim_all(self) -> None:
        while not self._no_more_claims():
            for claim in self._claimer.claim(self._todo.blocks):
                self._do_block(claim)
            if not self._todo.wants_finalize():
                return
            for claim in self._claimer.claim(self._todo.finalize):
                self._do_block(claim)
                if not self._todo.wants_finalize():
                    break
            if not self._todo.blocks():
                return

    def _device(self) -> str:
        num_gpus = self._config.resources.gpus
        devices.check(num_gpus)
        return "cuda" if num_gpus else "cpu"

    def _record(self, event: Event) -> None:
        self._session.record(event)
        self._claimer.apply((event,))
        self._on_event(event)

    def _do_block(self, claim: Claim) -> None:
        error: BaseException | None = None
        try:
            for shard_id in claim.shards:
                if self._flag.is_set or self._deadline.too_near():
                    break
                outcome = self._do_shard(shard_id, claim)
                if outcome.kind == "lost":
                    logger.warning("shard %s: another worker has taken it over", shard_id)
                    return
                if outcome.kind == "environment":
                    error = outcome.error
        finally:
            self._close(claim, error)

    def _close(self, claim: Claim, error: BaseException | None) -> None:
        self._watchdog.at_hand = None
        self._meter.end_shard()
        self._session.heartbeat.update(shard="", num_samples=0, state="working")
        if any(self._state.status(shard_id) == "pending" for shard_id in claim.shards):
            self._record(closed_event(claim, error))

    def _do_shard(self, shard_id: str, claim: Claim) -> Outcome:
        self._meter.begin_shard()
        ctx, work = self._begin(shard_id, claim)
        self._deadline.begin()
        self._watchdog.at_hand = AtHand(claim, shard_id, ctx, time.monotonic())
        outcome = attempt_shard(work, ctx, lambda: self._claimer.fence(claim))
        self._deadline.end(outcome.seconds)
        error = outcome.error
        if outcome.kind == "done":
            done = done_event(claim, shard_id, outcome)
            self._record(done)
            self._meter.add_done(done)
            ctx.partials.remove()
        elif outcome.kind == "failed" and error is not None:
            self._fail(shard_id, claim, error, outcome.seconds)
        elif outcome.kind == "released":
            may_stop = shard_id == FINALIZE
            why = why_charged(self._flag, self._deadline, ctx.partials, may_stop=may_stop)
            if why is not None:
                self._fail(shard_id, claim, why, outcome.seconds)
        self._count_environment(shard_id, outcome)
        return outcome

    def _begin(self, shard_id: str, claim: Claim) -> tuple[ShardContext, Callable[[], None]]:
        """Make the context of an attempt and what is to be done in it."""
        session = self._session
        common = (
            claim.attempt,
            self._folder,
            session.scratch,
            session.run.artifacts,
            self._partials(shard_id, claim.attempt),
            lambda: self._flag.is_set,
        )
        session.heartbeat.update(shard=shard_id, shard_since=time.time(), num_samples=0)
        if shard_id == FINALIZE:
            plan, state = self._state.plan, self._state
            final = FinalizeContext(plan, lambda: collect_results(session.run, state), *common)
            return final, lambda: self._finish.run(final)
        index = self._state.plan.index(shard_id)
        assert index is not None
        ctx = ShardContext(shard_id, *common)
        plan, state = self._state.plan, self._stage_state
        return ctx, lambda: process_shard(self._stage, plan, index, ctx, state)

    def _partials(self, shard_id: str, attempt: int) -> Partials:
        name = partial_name(self._state.plan, shard_id)
        forgotten = self._state.reset_through(shard_id)
        return Partials(self._session.run.path / FOLDER, name, attempt, forgotten)

    def _fail(self, shard_id: str, claim: Claim, error: BaseException, seconds: float) -> None:
        detail = None if isinstance(error, ShardError) else error
        text = "shard %s failed (attempt %d): %s"
        logger.error(text, shard_id, claim.attempt, worded(error), exc_info=detail)
        self._meter.num_failed += 1
        self._record(failed_event(claim, shard_id, error, seconds))

    def _count_environment(self, shard_id: str, outcome: Outcome) -> None:
        if outcome.kind in ("done", "failed"):
            self._num_env_failures = 0
        elif outcome.kind == "environment":
            self._num_env_failures += 1
            reason = worded(outcome.error) if outcome.error else ""
            logger.error("shard %s: not its fault, given back: %s", shard_id, reason)
            if self._num_env_failures >= self._config.run.max_env_failures:
                self._flag.stop(f"{self._num_env_failures} times in a row: {reason}")
