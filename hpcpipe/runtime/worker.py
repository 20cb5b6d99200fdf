"""One worker: claims shards of a run and does them until nothing is left to claim."""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hpcpipe.config import Config
from hpcpipe.errors import SetupError, ShardError, is_environment_error
from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import FINALIZE, Brief, Event, JournalReader
from hpcpipe.manifest.owners import OwnerWatch
from hpcpipe.manifest.rundir import Launch
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime import devices
from hpcpipe.runtime.attempt import Outcome, attempt_shard, process_shard
from hpcpipe.runtime.claimer import Claim, Claimer, Waits
from hpcpipe.runtime.closing import close_if_over
from hpcpipe.runtime.contact_sheet import write_at_end
from hpcpipe.runtime.context import SetupContext, ShardContext
from hpcpipe.runtime.deadline import Deadline, Job
from hpcpipe.runtime.ending import ending, why_charged
from hpcpipe.runtime.events import closed_event, done_event, failed_event, worded
from hpcpipe.runtime.finalize_context import FinalizeContext
from hpcpipe.runtime.finish import Finish
from hpcpipe.runtime.health import Health
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import FOLDER, Partials, partial_name
from hpcpipe.runtime.patience import Patience
from hpcpipe.runtime.results import collect_results
from hpcpipe.runtime.session import Session
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
        patience: Patience,
    ) -> None:
        """Prepare; see `run_worker`. Raises OSError."""
        run, options = session.run, config.run
        self._session = session
        self._patience = patience
        self._patience_with_shards = Patience(options.max_env_failures, options.backoff_s, flag)
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
        self._health = Health(session, config, state, flag, self._deadline)
        self._stage_state: Any = None
        claims = patience.insist(lambda: Claims(run.claims, session.identity_path))
        self._claimer = Claimer(
            state,
            reader,
            claims,
            OwnerWatch(run.workers, session.identity, options.lease_s),
            Waits(
                linger_s=options.linger_s,
                poll_s=min(options.heartbeat_s / 5, 3.0),
                backoff_s=options.backoff_s,
                to_the_end=launch.is_attended,
            ),
            session.identity.name,
            self._record,
            self._no_more_claims,
            launch.limit,
        )
        self._finish = Finish(
            self._stage, state, self._folder, self._todo, claims, self._claimer, self._record
        )
        session.watchdog = self._watchdog.look

    def work(self) -> WorkerResult:
        """Run the loop; see `run_worker`. Raises as that does."""
        is_work_left = self._todo.blocks() or self._todo.wants_finalize()
        if is_work_left and self._health.check_node():
            self._set_up()
            self._session.heartbeat.update(state="working")
            self._session.heartbeat.beat_now()
            self._claim_all()
        end = ending(self._flag, self._deadline, self._is_work_left)
        if end.note:
            logger.log(logging.ERROR if end.gave_up else logging.INFO, "stopping: %s", end.note)
        num_done, num_failed = self._meter.num_done, self._meter.num_failed
        return WorkerResult(num_done, num_failed, end.note, end.queued_again, end.gave_up)

    def _set_up(self) -> None:
        logger.info("setting up stage %s", type(self._stage).__name__)
        try:
            self._stage_state = self._stage.setup(
                SetupContext(
                    self._device(),
                    self._session.scratch,
                    self._session.run.artifacts,
                    self._session.exit_stack,
                )
            )
        except SetupError:
            self._health.check_node(after_setup=True)
            raise

    def leave(self) -> None:
        """Close the run and show what it made, if this was its last worker. Raises HpcPipeError."""
        if self._todo.blocks() or self._todo.wants_finalize():
            return
        try:
            self._claimer.refresh()
        except OSError as error:
            logger.warning("whether the run is over cannot be seen: %s", error)
            return
        if close_if_over(self._session.run, self._config.run, self._state):
            write_at_end(self._session.run, self._stage)

    def _is_work_left(self) -> bool:
        try:
            self._claimer.refresh()
            return self._claimer.any_unattended(self._todo.blocks() or self._todo.finalize())
        except OSError as error:
            logger.warning("whether work is left cannot be seen: %s", error)
            return True

    def _no_more_claims(self) -> bool:
        return self._flag.no_more_claims() or bool(self._deadline.too_near())

    def _claim_all(self) -> None:
        is_over = False
        while not is_over and not self._no_more_claims():
            try:
                is_over = self._claim_what_is_left()
            except OSError as error:
                if not is_environment_error(error):
                    raise
                if not self._flag.is_set:
                    self._patience.failed(error)

    def _claim_what_is_left(self) -> bool:
        """Work until nothing can be claimed; False where the last step has reset shards."""
        for claim in self._claimer.claim(self._todo.blocks):
            self._do_block(claim)
            self._health.look()
        if not self._todo.wants_finalize():
            return True
        for claim in self._claimer.claim(self._todo.finalize):
            self._do_block(claim)
            if not self._todo.wants_finalize():
                break
        return not self._todo.blocks()

    def _device(self) -> str:
        num_gpus = self._config.resources.gpus
        devices.check(num_gpus)
        return "cuda" if num_gpus else "cpu"

    def _record(self, event: Event) -> None:
        event = self._session.record(event)
        self._claimer.apply((event,))
        self._on_event(event)

    def _do_block(self, claim: Claim) -> None:
        error: BaseException | None = None
        failed = ""
        self._patience.worked()
        try:
            for shard_id in claim.shards:
                if self._flag.is_set or self._deadline.too_near():
                    break
                outcome = self._do_shard(shard_id, claim)
                if outcome.kind == "lost":
                    logger.warning("shard %s: another worker has taken it over", shard_id)
                    return
                if outcome.kind == "environment":
                    error, failed = outcome.error, shard_id
        finally:
            self._close(claim, error)
        if error is not None:
            self._patience_with_shards.failed(error, f"shard {failed}")

    def _close(self, claim: Claim, error: BaseException | None) -> None:
        self._watchdog.let_go()
        self._meter.end_shard()
        self._session.heartbeat.at_hand("")
        if self._state.pending_of(claim.block):
            self._record(closed_event(claim, error))

    def _do_shard(self, shard_id: str, claim: Claim) -> Outcome:
        self._meter.begin_shard()
        ctx, work = self._begin(shard_id, claim)
        self._deadline.begin()
        self._watchdog.begin(AtHand(claim, shard_id, ctx, time.monotonic()))
        outcome = attempt_shard(work, ctx, lambda: self._fence(claim))
        self._watchdog.let_go()
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
        self._health.add(outcome)
        if outcome.kind in ("done", "failed"):
            self._patience_with_shards.worked()
        elif outcome.kind == "environment" and error is not None:
            logger.error("shard %s: not its fault, given back: %s", shard_id, worded(error))
        return outcome

    def _fence(self, claim: Claim) -> bool:
        # In this order: what others did while this worker was silent is seen afterwards.
        self._session.prove_alive(self._config.run.lease_s)
        return self._claimer.fence(claim)

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
        session.heartbeat.at_hand(shard_id)
        if shard_id == FINALIZE:
            plan, state = self._state.plan, self._state
            final = FinalizeContext(plan, lambda: collect_results(session.run, state), *common)
            return final, lambda: self._finish.run(final)
        index = self._state.plan.index(shard_id)
        assert index is not None
        ctx = ShardContext(shard_id, *common)
        plan, state = self._state.plan, self._stage_state

        def work() -> None:
            session.prove_alive(self._config.run.lease_s)
            process_shard(self._stage, plan, index, ctx, state)

        return ctx, work

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
