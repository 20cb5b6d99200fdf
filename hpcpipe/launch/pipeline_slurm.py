"""Steps of a pipeline on SLURM: each one that has to wait gets a plan job and an array behind it.

The plan job runs after any end of the jobs above and asks their manifests whether the step may
begin; the array runs only if the plan job went well. Never does an array hang on another one
going well: a worker that died, and whose shards others finished, would block the rest for ever.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence

from hpcpipe.config import SlurmLauncher
from hpcpipe.config.pipeline import StepConfig
from hpcpipe.console import plural, say
from hpcpipe.errors import LaunchError
from hpcpipe.launch import slurm, squeue
from hpcpipe.launch import start as runs
from hpcpipe.launch.parameters import layout
from hpcpipe.launch.pending import own_arguments, show
from hpcpipe.launch.queue_watch import QueueWatch
from hpcpipe.launch.step_jobs import submit_both
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Job, Step
from hpcpipe.runtime.access import user_name
from hpcpipe.runtime.gate import sources_of


class Submission:
    """Submits the steps of one pipeline, in order.

    Attributes:
        jobs: number of the submission by step, for steps that wait for their plan.
    """

    def __init__(self, directory: PipelineDir, max_array_size: int) -> None:
        """Begin.

        Args:
            directory: the pipeline directory.
            max_array_size: largest number of tasks in one array.

        Raises:
            Nothing.
        """
        self.jobs: dict[str, int] = {}
        self._directory = directory
        self._max_array_size = max_array_size
        self._unfinished: set[str] = set()

    def submit(self, step: StepConfig) -> int:
        """Submit what is missing of one step.

        Args:
            step: the step; those above were submitted before.

        Returns:
            0 where it is complete, or queued; 3 where shards are quarantined.

        Raises:
            HpcPipeError: it cannot be submitted.
            OSError: a directory cannot be written.
        """
        job = self._last_job(step.name)
        live = self._live_jobs([step.name])
        is_queued = job is not None and job.plan_job in live
        waits_for = [name for name in step.needs if name in self._unfinished]
        if not waits_for and not is_queued:
            sources = sources_of(self._directory, self._directory.step(step.name))
            started = runs.start(step.config, "submit", sources)
            if started.is_waiting:
                self._unfinished.add(step.name)
            return started.exit_code
        self._unfinished.add(step.name)
        after = self._live_jobs(waits_for)
        # Workers that are at work are left alone, whatever became of the steps above.
        if live and (job is None or not is_queued or set(after) <= set(job.after)):
            say(f"left alone {', '.join(live)}: queued or running already")
            if job is not None and set(job.ids) & set(live):
                self.jobs[step.name] = job.number
            return 0
        if job is not None and is_queued:
            squeue.cancel(job.ids)
            say(f"cancelled  {', '.join(job.ids)}, which did not wait for all jobs above")
        job = self._add(step, after)
        say(f"plan job   {job.plan_job}, after {', '.join(waits_for)}")
        say(f"array      {job.array_job}, {plural(job.num_workers, 'worker')} after the plan job")
        self.jobs[step.name] = job.number
        return 0

    def _last_job(self, name: str) -> Job | None:
        jobs = [job for job in self._directory.read_jobs() if job.step == name]
        return jobs[-1] if jobs else None

    def _live_jobs(self, names: Iterable[str]) -> list[str]:
        """Jobs of steps that are queued or running, however they were submitted."""
        steps = [self._directory.step(name) for name in names]
        return live_jobs(self._directory, steps)

    def _add(self, step: StepConfig, after: Sequence[str]) -> Job:
        launcher = step.config.launcher
        assert isinstance(launcher, SlurmLauncher)
        per_job = layout({**step.config.site.slurm, **launcher.slurm}).workers_per_job
        job = Job(
            number=0,
            step=step.name,
            num_workers=min(-(-launcher.array_size // per_job), self._max_array_size),
            after=tuple(after),
            user=user_name(),
            cwd=os.getcwd(),
            at=time.time(),
            command=own_arguments(),
        )
        job = self._directory.add_job(job, step.config.text)
        try:
            return submit_both(self._directory, job, step.config, launcher)
        except LaunchError:
            self._withdraw(job.number)
            raise

    def _withdraw(self, number: int) -> None:
        """Undo half a submission; where SLURM does not answer, the next launch sees to it."""
        job = self._directory.read_job(number)
        if not job.ids:
            self._directory.remove_job(job)
            return
        # Its number stays taken: the plan job may still write what became of it.
        with contextlib.suppress(LaunchError):
            squeue.cancel(job.ids)


def live_jobs(directory: PipelineDir, steps: Iterable[Step]) -> list[str]:
    """List the jobs of steps that are queued or running, however they were submitted.

    Args:
        directory: the pipeline.
        steps: some of its steps.

    Returns:
        Job ids in order.

    Raises:
        LaunchError: squeue does not answer.
        OSError: a directory cannot be read.
    """
    wanted = list(steps)
    names = {step.name for step in wanted}
    ids = {job_id for job in directory.read_jobs() if job.step in names for job_id in job.ids}
    for run in filter(None, (step.find_run() for step in wanted)):
        ids |= {launch.array_job for launch in run.read_launches() if launch.array_job}
    return sorted(squeue.live_tasks(ids), key=int)


def await_plan(directory: PipelineDir, number: int) -> str:
    """Wait until a plan job is over.

    Args:
        directory: the pipeline.
        number: number of the submission.

    Returns:
        Why there is no plan; empty where there is one.

    Raises:
        HpcPipeError: the pipeline directory is damaged.
        OSError: it cannot be read.
    """
    job = directory.read_job(number)
    say(f"waiting    for plan job {job.plan_job}")
    queue, is_over = QueueWatch(lambda: [job.plan_job], say), False
    while True:
        planned = directory.read_plan(number)
        if planned is not None:
            return planned.error
        if is_over:
            return (
                f"step {job.step} was not planned: its plan job {job.plan_job} ended without a "
                f"word, or was cancelled. See {show(directory.submitit / str(number))}"
            )
        is_over = queue.is_over()
        time.sleep(slurm.POLL_S)
