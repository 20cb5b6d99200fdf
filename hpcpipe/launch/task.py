"""What runs in a worker process that a launcher started."""

import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from hpcpipe.config import Config, load
from hpcpipe.errors import ConfigError, SetupError
from hpcpipe.launch.job import own_job
from hpcpipe.manifest.identity import slurm_number
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime import devices
from hpcpipe.runtime.find import read_resources
from hpcpipe.runtime.run_worker import run_worker
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.watchdog import EXIT_STOPPED
from hpcpipe.runtime.worker import WorkerResult

logger = logging.getLogger(__name__)

VISIBLE_S = 90.0
"""After this all nodes see what one has made."""
POLL_S = 1.0


class WorkerTask:
    """One job of a launch; small enough to be pickled by submitit without any data."""

    def __init__(self, run_dir: str, launch: int, index: int, gpus: tuple[str, ...] = ()) -> None:
        """Name the worker, or the workers that share a job.

        Args:
            run_dir: the run directory.
            launch: number of the launch.
            index: the job's index in it.
            gpus: the GPUs it may see, where SLURM does not say so.

        Raises:
            Nothing.
        """
        self.run_dir = run_dir
        self.launch = launch
        self.index = index
        self.gpus = gpus

    def __call__(self) -> str:
        """Work, then end as the scheduler wants it.

        Returns:
            What the worker did, in words, for submitit's log.

        Raises:
            HpcPipeError: the worker cannot work.
        """
        if self.gpus:
            devices.show_only(list(self.gpus))
        await_launch(Path(self.run_dir), self.launch)
        run = RunDir(Path(self.run_dir))
        launch = run.read_launch(self.launch)
        flag = StopFlag(run.stop_file)
        with flag.handle_signals(interrupt=False):
            result = work(run, launch, self.index, flag, is_batch=launch.kind != "local")
        if result.gave_up:
            logger.error("%s", describe(result))
            sys.exit(EXIT_STOPPED)
        return describe(result)

    def checkpoint(self) -> Any:
        """Give submitit what to run again when it is warned before `__call__`. Raises nothing."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def await_launch(run_dir: Path, number: int, timeout_s: float = VISIBLE_S) -> None:
    """Wait until this node sees the launch it belongs to, which another has just recorded.

    Network filesystems remember for up to a minute that something was not there.

    Args:
        run_dir: the run directory.
        number: number of the launch.
        timeout_s: how long to wait at most.

    Returns:
        Nothing, after `timeout_s` also where it cannot be read.

    Raises:
        Nothing.
    """
    until = time.monotonic() + timeout_s
    names = ("run.json", f"launches/{number}.json", f"launches/{number}.yaml")
    while not all(_can_be_read(run_dir / name) for name in names):
        if time.monotonic() > until:
            return
        time.sleep(POLL_S)


def _can_be_read(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def work(
    run: RunDir, launch: Launch, index: int, flag: StopFlag, *, is_batch: bool
) -> WorkerResult:
    """Run one worker of a launch in this process, and end as the scheduler wants it.

    Args:
        run: the run directory.
        launch: the launch.
        index: index of its job in it.
        flag: tells it to stop.
        is_batch: this process is the scheduler's to end and to run again.

    Returns:
        What it did; nothing after TERM in a SLURM job, which waits for its end.

    Raises:
        HpcPipeError: the worker cannot work.
        OSError: the run directory fails.
    """
    where = devices.place()
    # Before the stage's module is imported, and torch with it.
    devices.take_share(read_resources(run, f"launches/{launch.number}.yaml").gpus, where)
    config = _load(run, launch)
    label = worker_label(launch, index)
    index = index * where.num_ranks + where.rank
    job = own_job(config, launch) if is_batch else None
    queued_again = False
    try:
        result = run_worker(run, config, launch, index, label, flag, job=job)
        queued_again = result.queued_again
    finally:
        if is_batch and not queued_again:
            await_kill(flag)
    return result


def _load(run: RunDir, launch: Launch) -> Config:
    """Read the launch's config; its stage is imported from where the launch found it."""
    if launch.code.import_path and launch.code.import_path not in sys.path:
        sys.path.append(launch.code.import_path)
    try:
        return load(run.path, f"launches/{launch.number}.yaml")
    except ConfigError as error:
        host, found = socket.gethostname(), launch.code.import_path
        where = f"; the launch found it in {found}, which must be readable there" if found else ""
        raise SetupError(
            f"{error}\n(a worker on {host}, run by {sys.executable} in {os.getcwd()}{where})"
        ) from error


def worker_label(launch: Launch, index: int) -> str:
    """Name a worker as people know it.

    Args:
        launch: its launch.
        index: index of its job in it.

    Returns:
        ``ARRAY_TASK``, with ``.PROCID`` in jobs of several workers and ``rN`` after N requeues, on
        SLURM; ``local-LAUNCH-INDEX`` and the like elsewhere.

    Raises:
        Nothing.
    """
    env = os.environ
    job = env.get("SLURM_ARRAY_JOB_ID") or env.get("SLURM_JOB_ID")
    if not job or launch.is_attended:
        return f"{launch.kind}-{launch.number}-{index}"
    label = f"{job}_{slurm_number('ARRAY_TASK_ID', index)}"
    where = devices.place()
    if where.num_ranks > 1:
        label += f".{where.rank}"
    restart = slurm_number("RESTART_COUNT")
    return f"{label}r{restart}" if restart else label


def await_kill(flag: StopFlag) -> None:
    """After TERM in a SLURM job, idle until SLURM ends the process.

    A job that exits by itself in the grace time of a preemption is FAILED and not queued again.

    Args:
        flag: what stopped the worker.

    Returns:
        Nothing, outside SLURM or for another signal.

    Raises:
        Nothing.
    """
    if flag.signal != signal.SIGTERM or "SLURM_JOB_ID" not in os.environ:
        return
    logger.info("everything is released; waiting for SLURM to end this job")
    while True:
        time.sleep(60)


def describe(result: WorkerResult) -> str:
    """Say what a worker did, in one line. Raises nothing."""
    stopped = f", stopped: {result.stopped}" if result.stopped else ""
    return f"{result.num_done} shards done, {result.num_failed} failures{stopped}"
