"""One worker: claims shards of a run and does them until nothing is left to claim."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from hpcpipe.config import Config
from hpcpipe.errors import ShardError
from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import FINALIZE, Event, JournalReader
from hpcpipe.manifest.owners import OwnerWatch
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.attempt import Outcome, attempt_shard, process_shard
from hpcpipe.runtime.claimer import Claim, Claimer, Waits, stripe
from hpcpipe.runtime.context import FinalizeContext, SetupContext, ShardContext
from hpcpipe.runtime.events import closed_event, done_event, failed_event, worded
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.results import check_outputs, collect_results, open_state
from hpcpipe.runtime.session import Session, log_to, scratch_root
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.watchdog import AtHand, Watchdog
from hpcpipe.stage import ShardResult, ShardStopped, Stage

logger = logging.getLogger(__name__)


class WorkerResult(NamedTuple):
    """What a worker did.

    Attributes:
        num_done: shards finished.
        num_failed: attempts that failed.
        stopped: why it ended before everything was claimed; empty for a plain end.
    """

    num_done: int
    num_failed: int
    stopped: str


def run_worker(
    run: RunDir,
    config: Config,
    launch: Launch,
    index: int,
    label: str,
    flag: StopFlag,
    on_event: Callable[[Event], None] = lambda event: None,
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

    Returns:
        What it did.

    Raises:
        SetupError: it cannot work at all, and has taken no shard.
        KeyboardInterrupt: interrupted from the terminal; everything is released.
        OSError: the run directory fails.
    """
    state, reader = open_state(run, config)
    scratch = scratch_root(config.run.scratch)
    session = Session(run, label, launch.number, scratch, config.run.heartbeat_s)
    note = "died"
    try:
        with log_to(run.logs / f"{label}.log", label):
            worker = Worker(session, config, launch, index, state, reader, flag, on_event)
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
        reader: JournalReader,
        flag: StopFlag,
        on_event: Callable[[Event], None],
    ) -> None:
        """Prepare; see `run_worker`. Raises OSError."""
        run, options = session.run, config.run
        self._session = session
        self._config = config
        self._stage: Stage = config.stage
        self._launch = launch
        self._index = launch.first_index + index
        self._state = state
        self._flag = flag
        self._on_event = on_event
        self._folder = OutputFolder(run.info.output, options.checksum)
        self._watchdog = Watchdog(session, launch, flag, options.shard_timeout_s)
        self._num_env_failures = 0
        self._num_done = self._num_failed = 0
        self._stage_state: Any = None
        self._claimer = Claimer(
            state,
            reader,
            Claims(run.claims, session.identity_path),
            OwnerWatch(run.workers, session.identity, options.lease_s),
            Waits(
                linger_s=options.linger_s,
                poll_s=min(options.heartbeat_s / 5, 3.0),
                backoff_s=options.backoff_s,
                to_the_end=launch.kind in ("here", "local"),
            ),
            session.identity.name,
            self._record,
            flag.no_more_claims,
        )
        session.watchdog = self._watchdog.look

    def work(self) -> WorkerResult:
        """Run the loop; see `run_worker`. Raises as that does."""
        if self._order() or self._wants_finalize():
            logger.info("setting up stage %s", type(self._stage).__name__)
            self._stage_state = self._stage.setup(
                SetupContext(self._device(), self._session.scratch, self._session.run.artifacts)
            )
            self._session.heartbeat.update(state="working")
            self._session.heartbeat.beat_now()
            self._claim_all()
        if self._flag.reason:
            logger.info("stopping: %s", self._flag.reason)
        return WorkerResult(self._num_done, self._num_failed, self._flag.reason)

    def _claim_all(self) -> None:
        while not self._flag.no_more_claims():
            for claim in self._claimer.claim(self._order):
                self._do_block(claim)
            if not self._wants_finalize():
                return
            for claim in self._claimer.claim(self._finalize_order):
                self._do_block(claim)
                if not self._wants_finalize():
                    break
            if not self._order():
                return

    def _order(self) -> list[str]:
        """Pending blocks, larger ones first, beginning at this worker's own stripe."""
        plan = self._state.plan
        sizes: dict[int, int] = {}
        for index in self._state.pending(self._launch.limit):
            block = plan.block_of(index)
            sizes[block] = sizes.get(block, 0) + plan.sizes[index]
        largest_first = sorted(sizes, key=lambda block: (-sizes[block], block))
        num_workers = max(self._launch.first_index + self._launch.num_workers, 1)
        return stripe([str(block) for block in largest_first], self._index, num_workers)

    def _finalize_order(self) -> list[str]:
        return [FINALIZE] if self._wants_finalize() else []

    def _wants_finalize(self) -> bool:
        if not self._session.run.info.has_finalize:
            return False
        if self._state.status(FINALIZE) != "pending":
            return False
        counts = self._state.counts()
        allowed = self._config.run.max_failed_fraction * len(self._state.plan)
        return counts["pending"] == 0 and counts["quarantined"] <= allowed

    def _device(self) -> str:
        return "cuda" if self._config.resources.gpus else "cpu"

    def _record(self, event: Event) -> None:
        self._session.record(event)
        self._claimer.apply((event,))
        self._on_event(event)

    def _do_block(self, claim: Claim) -> None:
        error: BaseException | None = None
        try:
            for shard_id in claim.shards:
                if self._flag.is_set:
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
        self._session.heartbeat.update(shard="", state="working")
        if any(self._state.status(shard_id) == "pending" for shard_id in claim.shards):
            self._record(closed_event(claim, error))

    def _do_shard(self, shard_id: str, claim: Claim) -> Outcome:
        ctx, work = self._begin(shard_id, claim)
        self._watchdog.at_hand = AtHand(claim, shard_id, ctx)
        outcome = attempt_shard(work, ctx, lambda: self._claimer.fence(claim))
        error = outcome.error
        if outcome.kind == "done":
            self._record(done_event(claim, shard_id, outcome))
            self._num_done += 1
        elif outcome.kind == "failed" and error is not None:
            self._fail(shard_id, claim, error, outcome.seconds)
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
            lambda: self._flag.is_set,
        )
        session.heartbeat.update(shard=shard_id, shard_since=time.time(), num_samples=0)
        if shard_id == FINALIZE:
            results = collect_results(session.run, self._state)
            final = FinalizeContext(self._state.plan, results, *common)
            return final, lambda: self._finalize(final)
        index = self._state.plan.index(shard_id)
        assert index is not None
        ctx = ShardContext(shard_id, *common)
        plan, state = self._state.plan, self._stage_state
        return ctx, lambda: process_shard(self._stage, plan, index, ctx, state)

    def _finalize(self, ctx: FinalizeContext) -> None:
        """Re-verify what more than one attempt may have written, then finalize."""
        # Shards that were added or reset before the claim was taken; who does either later sees
        # the claim and resets it.
        self._claimer.refresh()
        self._state.plan.refresh()
        if not self._wants_finalize():
            raise ShardStopped
        if not type(self._stage).deterministic and self._reset_mismatches(ctx):
            raise ShardStopped
        self._stage.finalize(ctx)

    def _reset_mismatches(self, ctx: FinalizeContext) -> bool:
        """Reset shards whose files another attempt than the recorded one has written."""
        retried = [i for i, attempt in self._state.done.items() if attempt > 1 and i != FINALIZE]
        results = _with_progress(filter(None, map(ctx.result, retried)), ctx)
        bad = {f.shard_id for f in check_outputs(self._folder, results, deep=True)}
        for shard_id in sorted(bad):
            logger.warning("shard %s: its output is not the recorded attempt's", shard_id)
            attempt = self._state.done[shard_id]
            self._record(Event(event="reset", attempt=attempt, shard=shard_id))
        return bool(bad)

    def _fail(self, shard_id: str, claim: Claim, error: BaseException, seconds: float) -> None:
        detail = None if isinstance(error, ShardError) else error
        text = "shard %s failed (attempt %d): %s"
        logger.error(text, shard_id, claim.attempt, worded(error), exc_info=detail)
        self._num_failed += 1
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


def _with_progress(results: Iterable[ShardResult], ctx: ShardContext) -> Iterator[ShardResult]:
    for num_read, result in enumerate(results):
        ctx.progress(num_read)
        yield result
