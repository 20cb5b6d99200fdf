"""How far a run is: counts, rate, failures by class, workers; what `status` shows."""

import os
from typing import Literal

import msgspec

from hpcpipe.config import RunOptions
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.snapshot import (
    FIGURE_COLUMNS,
    STATE_COLUMNS,
    read_snapshot,
    reader_after,
)
from hpcpipe.manifest.state import RunState, ShardStatus
from hpcpipe.runtime.accounting import Accounting, Rates, account, covered_s
from hpcpipe.runtime.done_table import Counted, Totals
from hpcpipe.runtime.exit_code import code_of
from hpcpipe.runtime.failures import FailureClass, failures_by_class
from hpcpipe.runtime.find import read_launcher
from hpcpipe.runtime.listed import Listed, find_listed
from hpcpipe.runtime.live import AtHand, Live, at_hand, live_of, with_at_hand
from hpcpipe.runtime.nodes import BadNode, bad_node_limit, find_bad_nodes
from hpcpipe.runtime.remarks import read_remarks
from hpcpipe.runtime.tally import Tally
from hpcpipe.runtime.unmade import Unmade, by_reason, made_share, num_unmade
from hpcpipe.runtime.workers import WorkerView, read_workers

Overall = Literal["complete", "running", "queued", "quarantined", "incomplete"]


class Summary(msgspec.Struct, frozen=True):
    """A run at one moment.

    Attributes:
        run_dir: the run directory.
        stage: stage name.
        run_name: label.
        output: output folder.
        created_at: Unix time in seconds.
        state: ``complete``; ``running``; ``queued`` (only where SLURM was asked);
            ``quarantined`` (nothing else is left, and it is more than
            ``run.max_failed_fraction``); ``incomplete``.
        stopping: a STOP file keeps workers from claiming more.
        num_shards: shards in the plan.
        done: finished ones.
        pending: ones still to be done.
        quarantined: ones that failed for good.
        finalize: state of the last step; empty where the stage has none.
        recent: how fast it went in the last ten minutes of work; zeros where nothing was
            finished.
        overall: how fast it went while there was at least one worker, all launches together.
        active_s: seconds in which there was at least one worker, by the workers' clocks.
        live: how it goes of late, by what the workers that run say inside shards.
        eta_s: seconds to the end at the recent rate; None where nothing runs or it cannot be told.
        stats: counters of all finished shards, summed.
        num_samples: samples of all finished shards.
        bytes_in: bytes of input read for them.
        bytes_out: bytes of all finished outputs.
        at_hand: what is in the shards at hand, and in none of the sums above.
        made_share: part of the samples tried that was made, shards at hand included; None where
            none was tried.
        unmade: the others, by reason.
        accounting: what all workers together were given and used.
        workers: the workers, running ones first.
        failures: failures by class.
        bad_nodes: nodes on which shards fail that do well elsewhere.
        launches: what was started.
        plan_remarks, listed: what was said of the plan; counters with lists of what they count.
    """

    run_dir: str
    stage: str
    run_name: str
    output: str
    created_at: float
    state: Overall
    stopping: bool
    num_shards: int
    done: int
    pending: int
    quarantined: int
    finalize: str
    recent: Rates
    overall: Rates
    active_s: float
    live: Live
    eta_s: float | None
    stats: dict[str, int | float]
    num_samples: int
    bytes_in: int
    bytes_out: int
    at_hand: AtHand
    made_share: float | None
    unmade: list[Unmade]
    accounting: Accounting
    workers: list[WorkerView]
    failures: list[FailureClass]
    bad_nodes: list[BadNode]
    launches: list[Launch]
    plan_remarks: list[str]
    listed: list[Listed]


class Observer:
    """Watches a run; every journal line is read once, however often it is asked.

    Attributes:
        run: the run.
        options: how its shards are run.
        state: its state when last asked.
    """

    def __init__(self, run: RunDir, options: RunOptions) -> None:
        """Read the plan.

        Args:
            run: the run directory.
            options: how its shards are run.

        Raises:
            PlanError: the plan is damaged.
            OSError: it cannot be read.
        """
        self.run = run
        self.options = options
        plan = Plan(run.path, run.info.block_size)
        self.state = RunState(plan, options.max_attempts, options.max_lost)
        self._tally = Tally(self.state)
        snapshot = read_snapshot(run, plan, (*STATE_COLUMNS, *FIGURE_COLUMNS))
        if snapshot is not None:
            self.state.restore(snapshot.attempts())
            self._tally.restore(snapshot)
            for writer, events in snapshot.events(Counted):
                self._take(writer, events)
        self._reader = reader_after(run, snapshot, Counted)

    def _take(self, writer: str, events: list[Counted]) -> None:
        indexes = self.state.plan.indexes([event.shard for event in events])
        self.state.apply(events, indexes)
        self._tally.add(writer, events, indexes)

    def refresh(self) -> tuple[int, dict[ShardStatus, int]]:
        """Read what is new.

        Returns:
            The code a command about the whole run exits with now (see `state_code`), and number
            of shards by state.

        Raises:
            OSError: a journal cannot be read.
        """
        for writer, events in self._reader.batches():
            self._take(writer, events)
        self.state.plan.refresh()  # which now has every shard that the events speak of
        number = self.state.counts()
        code = code_of(self.state, number, self.options, has_finalize=self.run.info.has_finalize)
        return code, number

    def overview(self) -> tuple[Overall, dict[ShardStatus, int]]:
        """Read what is new, and say only the most important.

        Returns:
            State of the run, and number of shards by theirs.

        Raises:
            OSError: a file cannot be read.
        """
        code, number = self.refresh()
        return _overall(code, read_workers(self.run, self.options.lease_s)), number

    def summarize(self) -> Summary:
        """Read what is new, and sum up.

        Returns:
            The summary.

        Raises:
            OSError: a file cannot be read.
        """
        run, info = self.run, self.run.info
        code, number = self.refresh()
        workers = read_workers(run, self.options.lease_s)
        workers.sort(key=lambda view: (view.state != "running", view.identity.started_at))
        overall = _overall(code, workers)
        totals = self._tally.totals()
        rate = totals.recent.shards_per_s
        beats = [view.beat for view in workers if view.state == "running"]
        now = at_hand(beats, self.state.is_done)
        stats = with_at_hand(totals.stats, now.stats)
        num_samples = totals.num_samples + now.num_samples
        active_s = covered_s((v.beat.at - v.beat.used.wall_s, v.beat.at) for v in workers)
        return Summary(
            run_dir=str(run.path),
            stage=info.stage,
            run_name=info.run_name,
            output=info.output,
            created_at=info.created_at,
            state=overall,
            stopping=os.path.exists(run.stop_file),
            num_shards=len(self.state.plan),
            done=number["done"],
            pending=number["pending"],
            quarantined=number["quarantined"],
            finalize=self.state.status(FINALIZE) if info.has_finalize else "",
            recent=totals.recent,
            overall=_overall_rates(totals, number["done"], active_s),
            active_s=active_s,
            live=live_of(beat.pace for beat in beats),
            eta_s=number["pending"] / rate if rate and overall == "running" else None,
            stats=totals.stats,
            num_samples=totals.num_samples,
            bytes_in=totals.bytes_in,
            bytes_out=totals.bytes_out,
            at_hand=now,
            made_share=made_share(num_samples, num_unmade(stats)),
            unmade=by_reason(stats, num_samples),
            accounting=account(view.beat.used for view in workers),
            workers=workers,
            failures=failures_by_class(run, self.state, self._tally),
            bad_nodes=find_bad_nodes(self.state, workers, bad_node_limit(read_launcher(run))),
            launches=run.read_launches(),
            plan_remarks=read_remarks(run.path),
            listed=find_listed(info.output, totals.stats),
        )


def _overall_rates(totals: Totals, num_done: int, active_s: float) -> Rates:
    if not active_s:
        return Rates()
    return Rates(
        shards_per_s=num_done / active_s,
        samples_per_s=totals.num_samples / active_s,
        bytes_in_per_s=totals.bytes_in / active_s,
        bytes_out_per_s=totals.bytes_out / active_s,
    )


def _overall(code: int, workers: list[WorkerView]) -> Overall:
    if code == 0:
        return "complete"
    if any(view.state == "running" for view in workers):
        return "running"
    return "quarantined" if code == 3 else "incomplete"
