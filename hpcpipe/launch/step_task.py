"""What runs in the jobs of a pipeline's later steps: the plan job, and the workers behind it."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec

from hpcpipe.config import SlurmLauncher, load
from hpcpipe.console import say, warn
from hpcpipe.errors import HpcPipeError, LaunchError, SetupError
from hpcpipe.launch.exclude import leave_bad_nodes, retry_elsewhere
from hpcpipe.launch.parameters import layout
from hpcpipe.launch.pending import Pending, new_launch
from hpcpipe.launch.prepare import prepare
from hpcpipe.launch.space import check_space
from hpcpipe.launch.task import WorkerTask
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Job, Planned
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.access import check_access
from hpcpipe.runtime.gate import check_upstream, sources_of
from hpcpipe.runtime.results import open_state

ARRAY_TIMEOUT_S = 120.0


class PlanTask:
    """Plans one step, once the steps it needs are over; may be run any number of times."""

    def __init__(self, pipeline_dir: str, number: int) -> None:
        """Name the submission.

        Args:
            pipeline_dir: the pipeline directory.
            number: number of the submission.

        Raises:
            Nothing.
        """
        self.pipeline_dir = pipeline_dir
        self.number = number

    def __call__(self) -> str:
        """Make the plan, and record what became of it.

        Returns:
            What was done, for submitit's log.

        Raises:
            SystemExit: the plan cannot be made; the reason is recorded, and the exit code keeps
                the workers from starting.
            OSError: the pipeline directory fails.
        """
        directory = PipelineDir(Path(self.pipeline_dir))
        job = directory.read_job(self.number)
        before = directory.read_plan(self.number)
        if before is not None and before.launch:
            return "planned before"
        try:
            planned = plan_step(directory, job)
        except (HpcPipeError, OSError) as error:
            planned = Planned(error=str(error))
        planned = msgspec.structs.replace(planned, at=time.time(), host=socket.gethostname())
        directory.write_plan(self.number, planned)
        if planned.error:
            warn(f"error: {planned.error}")
            raise SystemExit(HpcPipeError.exit_code)
        return f"planned {planned.run_dir}"

    def checkpoint(self) -> Any:
        """Give submitit what to run after a requeue: the same. Raises nothing."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class StepTask:
    """One worker of a step that was submitted before its plan was made."""

    def __init__(self, pipeline_dir: str, number: int, index: int) -> None:
        """Name the worker.

        Args:
            pipeline_dir: the pipeline directory.
            number: number of the submission.
            index: the worker's index in it.

        Raises:
            Nothing.
        """
        self.pipeline_dir = pipeline_dir
        self.number = number
        self.index = index

    def __call__(self) -> str:
        """Work like any other worker.

        Returns:
            What the worker did, in words, for submitit's log.

        Raises:
            SetupError: the plan was not made, though SLURM started the worker.
            HpcPipeError: the worker cannot work.
        """
        planned = PipelineDir(Path(self.pipeline_dir)).read_plan(self.number)
        if planned is None or not planned.launch:
            raise SetupError(f"the plan of submission {self.number} was not made, nothing to do")
        return WorkerTask(planned.run_dir, planned.launch, self.index)()

    def checkpoint(self) -> Any:
        """Give submitit what to run after a requeue: the same worker. Raises nothing."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def plan_step(directory: PipelineDir, job: Job) -> Planned:
    """Plan the step of a submission, and record its array as a launch of the run.

    Args:
        directory: the pipeline.
        job: the submission.

    Returns:
        Where the run is, and which launch of it the array is.

    Raises:
        HpcPipeError: what the step needs is not complete, or the step cannot be planned.
        OSError: the run directory cannot be written.
    """
    step = directory.step(job.step)
    check_upstream(directory, step)
    config = load(Path(step.run_dir), str(directory.jobs / f"{job.number}.yaml"))
    run, how = prepare(config, sources_of(directory, step))
    if warning := check_access(run):
        warn(f"warning: {warning}")
    state, reader = open_state(run, config)
    bad_nodes = leave_bad_nodes(run, config, state)
    state, reader = retry_elsewhere(run, config, state, bad_nodes) or (state, reader)
    num_pending = len(state.pending(config.limit))
    say(f"run        {run.path} ({how}), {num_pending:,} of {len(state.plan):,} shards to do")
    run.stop_file.unlink(missing_ok=True)
    job = _with_array(directory, job.number)
    known = [old for old in run.read_launches() if old.array_job == job.array_job]
    pending = Pending(run, config, state, reader, num_pending)
    check_space(pending, job.num_workers)
    launch = known[0] if known else _launch(pending, job)
    _link_output(run, launch, directory.submitit / str(job.number) / "workers")
    return Planned(run_dir=str(run.path), launch=launch.number)


def _with_array(directory: PipelineDir, number: int) -> Job:
    """The submission with its array, which is submitted just after the plan job."""
    until = time.monotonic() + ARRAY_TIMEOUT_S
    while not (job := directory.read_job(number)).array_job:
        if time.monotonic() > until:
            raise LaunchError(
                f"step {job.step} is planned, but its workers were never submitted: "
                "launch the pipeline again"
            )
        time.sleep(0.5)
    return job


def _launch(pending: Pending, job: Job) -> Launch:
    launcher = pending.config.launcher
    assert isinstance(launcher, SlurmLauncher)
    per_job = layout({**pending.config.site.slurm, **launcher.slurm}).workers_per_job
    max_jobs = max(launcher.max_parallel // per_job, 1) if launcher.max_parallel else 0
    launch = new_launch(pending, "slurm", job.num_workers * per_job, per_job, max_jobs)
    launch = msgspec.structs.replace(
        launch, array_job=job.array_job, cwd=job.cwd, command=job.command
    )
    pending.run.update_launch(launch)
    return launch


def _link_output(run: RunDir, launch: Launch, folder: Path) -> None:
    """Have the array's output found where that of all launches of a run is."""
    link = run.path / "submitit" / str(launch.number)
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(folder, link.parent))
