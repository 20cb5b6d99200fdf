"""Looking at all steps of a pipeline at once."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from hpcpipe.cli.watch import QUEUE_TIMEOUT_S
from hpcpipe.config.pipeline import as_typed
from hpcpipe.launch.squeue import Task, queued_tasks
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Job, Step
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.accounting import Accounting, add_up
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.gate import why_outdated
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.workers import WorkerView

StepState = Literal[
    "complete", "running", "queued", "quarantined", "incomplete",
    "outdated", "planning", "waiting", "not planned",
]  # fmt: skip
LIVE = ("running", "queued", "planning", "waiting")


class StepView(msgspec.Struct, frozen=True):
    """One step of a pipeline at one moment.

    Attributes:
        name: its name.
        stage: stage name.
        needs: steps whose output it reads.
        state: as of a run; ``waiting`` for the steps it needs, ``planning``, ``not planned`` and
            nothing will do it, or ``outdated``: planned from what the steps above held before.
        reason: why it is not planned, or outdated, or why its workers ended early.
        run_dir: its run directory; empty before it is planned.
        output: its output folder.
        num_shards: shards in its plan.
        done: finished ones.
        pending: ones still to be done.
        quarantined: ones that failed for good.
        shards_per_s: rate of a running step.
        eta_s: seconds to the end of a running step; None where it cannot be told.
        plan_job: job id of its last plan job; empty where it needed none.
        jobs: tasks of its arrays in the queue, by their state.
        accounting: what its workers were given and used; None before it is planned.
    """

    name: str
    stage: str
    needs: tuple[str, ...]
    state: StepState
    reason: str
    run_dir: str
    output: str
    num_shards: int = 0
    done: int = 0
    pending: int = 0
    quarantined: int = 0
    shards_per_s: float = 0.0
    eta_s: float | None = None
    plan_job: str = ""
    jobs: dict[str, int] = {}
    accounting: Accounting | None = None


class PipelineView(msgspec.Struct, frozen=True):
    """A pipeline at one moment.

    Attributes:
        pipeline: its name.
        pipeline_dir: its directory.
        state: ``complete``; ``running`` or ``queued`` while any step is; else what keeps it.
        steps: its steps in order.
        accounting: what the workers of all steps were given and used.
        cwd: where it was launched last.
        command: arguments of the command that launched it last; none where they are not known.
    """

    pipeline: str
    pipeline_dir: str
    state: Literal["complete", "running", "queued", "quarantined", "incomplete"]
    steps: list[StepView]
    accounting: Accounting
    cwd: str
    command: tuple[str, ...]


def look(directory: PipelineDir) -> PipelineView:
    """Sum a pipeline up, asking its manifests, and SLURM once.

    Args:
        directory: the pipeline.

    Returns:
        The view.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a directory cannot be read.
    """
    runs = {step.name: step.find_run() for step in directory.info.steps}
    jobs = directory.read_jobs()
    launches = {name: run.read_launches() if run else [] for name, run in runs.items()}
    asked = [launch for some in launches.values() for launch in some]
    asked += [Launch(0, "slurm", 1, array_job=id) for job in jobs for id in job.ids]
    tasks = queued_tasks(asked, QUEUE_TIMEOUT_S)
    views: list[StepView] = []
    for step in directory.info.steps:
        job = next((job for job in reversed(jobs) if job.step == step.name), None)
        arrays = {launch.array_job for launch in launches[step.name]}
        view = _look_at(directory, step, runs[step.name], job, arrays, tasks)
        complete = {above.name for above in views if above.state == "complete"}
        if view.state not in LIVE and complete.issuperset(step.needs):
            view = _compared(directory, step, view)
        views.append(view)
    known = [(job.at, job.cwd, job.command) for job in jobs]
    known += [(launch.at, launch.cwd, launch.command) for launch in asked if launch.at]
    _, cwd, command = max(known, default=(0.0, "", ()))
    return PipelineView(
        pipeline=directory.info.name,
        pipeline_dir=str(directory.path),
        state=_overall([view.state for view in views]),
        steps=views,
        accounting=add_up(view.accounting for view in views if view.accounting is not None),
        cwd=cwd,
        command=command,
    )


def _compared(directory: PipelineDir, step: Step, view: StepView) -> StepView:
    reason = why_outdated(directory, step)
    return msgspec.structs.replace(view, state="outdated", reason=reason) if reason else view


def _look_at(
    directory: PipelineDir,
    step: Step,
    run: RunDir | None,
    job: Job | None,
    arrays: set[str],
    tasks: Sequence[Task] | None,
) -> StepView:
    plan_job = job.plan_job if job else ""
    view = StepView(
        name=step.name,
        stage=step.stage,
        needs=step.needs,
        state="not planned",
        reason="",
        run_dir=str(run.path) if run else "",
        output=step.output,
        plan_job=plan_job,
        jobs=dict(Counter(task.state for task in tasks or () if task.array in arrays)),
    )
    if run is not None:
        view = _with_run(view, run)
    if view.state not in ("incomplete", "not planned"):
        return view
    if view.jobs and run is not None:
        return msgspec.structs.replace(view, state="queued", reason="")
    if job is None:
        return view
    planned = directory.read_plan(job.number)
    if planned is not None:
        return msgspec.structs.replace(view, reason=planned.error or view.reason)
    plans = None if tasks is None else [t for t in tasks if t.array == plan_job]
    if plans is None or plans:
        is_planning = any(task.state == "RUNNING" for task in plans or ())
        state: StepState = "planning" if is_planning else "waiting"
        return msgspec.structs.replace(view, state=state, reason="")
    reason = f"its plan job {plan_job} was cancelled, or ended without a word"
    return msgspec.structs.replace(view, reason=reason)


def _with_run(view: StepView, run: RunDir) -> StepView:
    observer = Observer(run, read_options(run))
    summary = observer.summarize()
    return msgspec.structs.replace(
        view,
        state=summary.state,
        num_shards=summary.num_shards,
        done=summary.done,
        pending=summary.pending,
        quarantined=summary.quarantined,
        shards_per_s=summary.recent.shards_per_s if summary.state == "running" else 0.0,
        eta_s=summary.eta_s,
        accounting=summary.accounting,
        reason=_why_ended(view.name, summary.workers) if summary.state == "incomplete" else "",
    )


def _why_ended(step: str, workers: Sequence[WorkerView]) -> str:
    """What most workers of the last launch that ended early said of it."""
    last = max((view.identity.launch for view in workers), default=0)
    notes = Counter(
        view.beat.note for view in workers if view.identity.launch == last and view.beat.note
    )
    said = [as_typed(note, step, {}) for note, _ in notes.most_common(1)]
    return "".join(f"its workers ended early: {note}" for note in said)


def _overall(
    states: list[StepState],
) -> Literal["complete", "running", "queued", "quarantined", "incomplete"]:
    if all(state == "complete" for state in states):
        return "complete"
    if "running" in states or "planning" in states:
        return "running"
    if "queued" in states or "waiting" in states:
        return "queued"
    return "quarantined" if "quarantined" in states else "incomplete"
