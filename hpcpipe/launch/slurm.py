"""Workers as one SLURM array, through submitit; the command returns once sbatch has it."""

import contextlib
import io
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hpcpipe.config import SlurmLauncher
from hpcpipe.console import plural, say
from hpcpipe.errors import LaunchError
from hpcpipe.launch import squeue
from hpcpipe.launch.arrays import Array, num_live_workers, num_running_at_most, plan_arrays
from hpcpipe.launch.exclude import leave_in_queue
from hpcpipe.launch.lock import launching
from hpcpipe.launch.parameters import excluded, layout, worker_parameters
from hpcpipe.launch.pending import Pending, make_private, new_launch, python_command, show
from hpcpipe.launch.queue_watch import QueueWatch
from hpcpipe.launch.refusal import refusal
from hpcpipe.launch.task import WorkerTask
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.exit_code import exit_code
from hpcpipe.runtime.find import read_resources
from hpcpipe.runtime.progress import Progress

POLL_S = 1.0
TOO_MANY = re.compile(r"SubmitJob\w*Limit|MaxSubmitJob|Invalid job array specification")


def check_available() -> int:
    """Make sure that jobs can be submitted from here, before anything is made.

    Returns:
        Largest number of tasks the cluster takes in one array.

    Raises:
        LaunchError: there is no sbatch, or SLURM does not answer.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise LaunchError(
            "there is no sbatch on this machine: launch on a login node of the cluster, "
            "or start workers on this machine with launcher=local -m"
        )
    try:
        return squeue.max_array_size()
    except LaunchError as error:
        raise LaunchError(
            f"SLURM does not answer: {error}\nIs this a login node of the cluster, and is "
            "SLURM_CONF right? launcher=local -m starts workers on this machine without SLURM"
        ) from error


def launch(pending: Pending, launcher: SlurmLauncher, max_array_size: int) -> None:
    """Submit the workers that are missing.

    Args:
        pending: the run.
        launcher: how many workers, and options for submitit.
        max_array_size: largest number of tasks in one array.

    Raises:
        ConfigError: the options for submitit contradict each other.
        LaunchError: sbatch refused; its words are in the message, and nothing is queued. Or
            somebody else is launching the run.
        OSError: the run directory cannot be written.
    """
    with launching(pending.run.path):
        _add_workers(pending, launcher, max_array_size)
    say(f"status     python -m hpcpipe status {show(pending.run.path)}")
    say(f"cancel     python -m hpcpipe cancel {show(pending.run.path)}")


def _add_workers(pending: Pending, launcher: SlurmLauncher, max_array_size: int) -> None:
    run = pending.run
    parameters = worker_parameters(pending.config, launcher)
    parameters["exclude"] = excluded(pending.config, pending.bad_nodes) or None
    per_job = layout(parameters).workers_per_job
    launches = run.read_launches()
    live = squeue.live_tasks([old.array_job for old in launches if old.array_job])
    leave_in_queue(pending.config, sorted(live), pending.bad_nodes)
    num_live = num_live_workers(launches, live)
    wanted = num_workers(pending, launcher.array_size, launcher.min_shards_per_worker)
    missing, max_jobs, why = -(-(wanted - num_live) // per_job), None, ""
    if launcher.max_parallel is not None:
        at_most = num_running_at_most(launches, live)
        max_jobs = (launcher.max_parallel - at_most) // per_job
        if max_jobs < 1 and num_live:
            missing = 0
            why = f": {at_most} of them may run at a time (launcher.max_parallel)"
        max_jobs = max(max_jobs, 1)
    if missing <= 0:
        why += _told_of_other_resources(pending, live)
        say(f"workers    {num_live} are queued or running already, none were added{why}")
    else:
        arrays = plan_arrays(missing, max_array_size, max_jobs)
        _submit_arrays(pending, parameters, arrays, num_live)


def _told_of_other_resources(pending: Pending, live: Collection[str]) -> str:
    """What is in the queue does not change with the command that is typed again."""
    run = pending.run
    names = [f"launches/{old.number}.yaml" for old in run.read_launches() if old.array_job in live]
    if all(read_resources(run, name) == pending.config.resources for name in names):
        return ""
    return "; they ask for other resources than this command: to change that, cancel them first"


def num_workers(pending: Pending, array_size: int, min_shards_per_worker: int) -> int:
    """Number of workers worth having.

    Args:
        pending: the run.
        array_size: workers to aim for.
        min_shards_per_worker: fewer workers when there are few shards.

    Returns:
        At least 1, since a last step may be all that is left.

    Raises:
        Nothing.
    """
    return max(1, min(array_size, -(-pending.num_pending // min_shards_per_worker)))


def _submit_arrays(
    pending: Pending, parameters: dict[str, Any], arrays: list[Array], num_live: int
) -> None:
    """Submit arrays until one is refused or cut down, for the cluster takes no more then."""
    for number, array in enumerate(arrays):
        try:
            record = _submit_what_is_allowed(pending, parameters, array)
        except LaunchError as error:
            if not number or not TOO_MANY.search(str(error)):
                raise
            return
        added = f" (beside {num_live} that are queued or running)" if num_live else ""
        say(f"array      {record.array_job}, {plural(record.num_workers, 'worker')}{added}")
        num_live += record.num_workers
        if record.num_workers < array.num_jobs * record.workers_per_job:
            return


def _submit_what_is_allowed(pending: Pending, parameters: dict[str, Any], array: Array) -> Launch:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    number, per_job = array.num_jobs, layout(parameters).workers_per_job
    if array.max_jobs:
        parameters = {**parameters, "array_parallelism": array.max_jobs}
    while True:
        record = new_launch(pending, "slurm", number * per_job, per_job, array.max_jobs or 0)
        folder = pending.run.path / "submitit" / str(record.number)
        path = str(pending.run.path)
        tasks = [WorkerTask(path, record.number, index) for index in range(number)]
        try:
            job = submit(tasks, folder, parameters, python_command(pending.config.site))
        except (FailedJobError, FailedSubmissionError, ValueError) as error:
            shutil.rmtree(folder)
            for suffix in ("json", "yaml"):
                (pending.run.launches / f"{record.number}.{suffix}").unlink()
            if number > 1 and TOO_MANY.search(str(error)):
                number //= 2
                continue
            raise LaunchError(refusal(str(error))) from error
        record = msgspec.structs.replace(record, array_job=job)
        pending.run.update_launch(record)
        return record


def submit(tasks: Sequence[Any], folder: Path, parameters: dict[str, Any], python: str) -> str:
    """Submit tasks as one array; a single one as a job of its own.

    Args:
        tasks: what is called in the jobs; small, for they are pickled.
        folder: a new folder for pickles and the jobs' output.
        parameters: submitit's.
        python: command that runs Python in the jobs.

    Returns:
        Job id of the array.

    Raises:
        FailedJobError, FailedSubmissionError, ValueError: submitit's words for a refusal.
        OSError: the folder cannot be made.
    """
    import submitit

    make_private(folder)
    # exec makes the worker the batch process itself, so that it gets the signals.
    start = "" if parameters.get("use_srun", True) else "exec "
    # submitit prints what sbatch says to standard error, and raises it as well.
    with clean_environment(), contextlib.redirect_stderr(io.StringIO()):
        executor = submitit.SlurmExecutor(
            folder=folder,
            python=f"{start}{python}",
            max_num_timeout=1_000_000,
        )
        executor.update_parameters(**parameters)
        with executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    return str(jobs[0].job_id).partition("_")[0]


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    """Hide the surrounding job, if any, from sbatch; keep what the user set for sbatch itself.

    Yields:
        Nothing.

    Raises:
        Nothing.
    """
    hidden = {
        key: os.environ.pop(key)
        for key in list(os.environ)
        if key.startswith(("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")) and key != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(hidden)


def follow(pending: Pending) -> None:
    """Wait until a run ends or no worker of it is queued or running.

    Args:
        pending: the run.

    Raises:
        OSError: the run directory cannot be read.
        KeyboardInterrupt: interrupted; the workers go on.
    """
    run, config = pending.run, pending.config
    with Progress(pending.state, config.limit) as bar:
        queue = QueueWatch(lambda: _arrays(run), bar.tell)
        while True:
            events = [event for _, event in pending.reader.read()]
            pending.state.plan.refresh()
            pending.state.apply(events)
            for event in events:
                bar.event(event)
            bar.look(run, config.run.lease_s)
            code = exit_code(
                pending.state, config, config.limit, has_finalize=run.info.has_finalize
            )
            if code != 4 or queue.is_over():
                return
            time.sleep(POLL_S)


def _arrays(run: RunDir) -> list[str]:
    return [launch.array_job for launch in run.read_launches() if launch.array_job]
