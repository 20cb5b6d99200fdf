"""The two jobs of a step that has to wait: its plan job, and the array behind it."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from hpcpipe.config import Config, Resources, SlurmLauncher
from hpcpipe.errors import LaunchError
from hpcpipe.launch import slurm
from hpcpipe.launch.exclude import leave_bad_nodes
from hpcpipe.launch.parameters import worker_parameters
from hpcpipe.launch.pending import python_command
from hpcpipe.launch.refusal import refusal
from hpcpipe.launch.step_task import PlanTask, StepTask
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Job
from hpcpipe.runtime.results import open_state

PLAN_TIME_MIN = 60
PLAN_MEM_GB = 8.0


def submit_both(directory: PipelineDir, job: Job, config: Config, launcher: SlurmLauncher) -> Job:
    """Submit the plan job of a step, and the array that waits for it.

    Args:
        directory: the pipeline.
        job: the submission, as it was recorded.
        config: the step's config.
        launcher: its launcher.

    Returns:
        The submission with its job ids; each is recorded as soon as it is known.

    Raises:
        LaunchError: sbatch refused; what it took before is in the record.
        HpcPipeError: a run that the step has already is damaged.
        OSError: the pipeline directory cannot be written.
    """
    path, folder = str(directory.path), directory.submitit / str(job.number)
    after = f"afterany:{':'.join(job.after)}" if job.after else None
    bad_nodes = _bad_nodes(directory, job, config)
    parameters = _with(plan_parameters(config, launcher), bad_nodes, dependency=after)
    python = python_command(config.site)
    plan_job = _submit([PlanTask(path, job.number)], folder / "plan", parameters, python, job.step)
    job = msgspec.structs.replace(job, plan_job=plan_job)
    directory.update_job(job)
    parameters = _with(
        worker_parameters(config, launcher),
        bad_nodes,
        dependency=f"afterok:{plan_job}",
        kill_on_invalid_dep="yes",
    )
    number = job.num_workers
    while True:
        tasks = [StepTask(path, job.number, index) for index in range(number)]
        try:
            array_job = _submit(tasks, folder / "workers", parameters, python, job.step)
        except LaunchError as error:
            if number == 1 or not slurm.TOO_MANY.search(str(error)):
                raise
            number //= 2
            continue
        job = msgspec.structs.replace(job, array_job=array_job, num_workers=number)
        directory.update_job(job)
        return job


def _bad_nodes(directory: PipelineDir, job: Job, config: Config) -> list[str]:
    """Nodes that spoilt the step's run before, if it has one."""
    run = directory.step(job.step).find_run()
    return leave_bad_nodes(run, config, open_state(run, config)[0]) if run else []


def _with(
    parameters: dict[str, Any], bad_nodes: Sequence[str], **additional: str | None
) -> dict[str, Any]:
    own = parameters.get("exclude")
    given = {key.replace("_", "-"): value for key, value in additional.items() if value}
    return {
        **parameters,
        "exclude": ",".join([*([str(own)] if own else []), *bad_nodes]) or None,
        "additional_parameters": {**parameters["additional_parameters"], **given},
    }


def _submit(
    tasks: Sequence[Any], folder: Path, parameters: dict[str, Any], python: str, step: str
) -> str:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        return slurm.submit(tasks, folder, parameters, python)
    except (FailedJobError, FailedSubmissionError, ValueError) as error:
        shutil.rmtree(folder)
        raise LaunchError(refusal(str(error), step=step)) from error


def plan_parameters(config: Config, launcher: SlurmLauncher) -> dict[str, Any]:
    """Parameters for submitit of a plan job: one core, an hour, what the site wants to hear.

    Args:
        config: config of the step that is planned.
        launcher: its launcher; options of its workers' are left out.

    Returns:
        The parameters.

    Raises:
        Nothing.
    """
    resources = config.resources
    small = Resources(
        cpus=1,
        gpus=0,
        mem_gb=resources.mem_gb and min(resources.mem_gb, PLAN_MEM_GB),
        time_min=min(resources.time_min, PLAN_TIME_MIN),
    )
    alone = {"tasks_per_node": 1, "nodes": 1}
    plain = dataclasses.replace(launcher, slurm=alone, max_parallel=None)
    parameters = worker_parameters(dataclasses.replace(config, resources=small), plain)
    return {**parameters, "job_name": f"hpcpipe-plan-{config.stage_name}-{config.run_name}"}
