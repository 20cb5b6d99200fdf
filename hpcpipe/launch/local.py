"""Workers on this machine, through submitit's local executor; waits and shows progress."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpcpipe.config import Config, LocalLauncher
from hpcpipe.console import plural, say, warn
from hpcpipe.errors import LaunchError
from hpcpipe.launch.pending import Pending, make_private, new_launch
from hpcpipe.launch.task import WorkerTask
from hpcpipe.manifest.identity import process_runs
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime import devices
from hpcpipe.runtime.progress import Progress
from hpcpipe.runtime.workers import read_workers

POLL_S = 0.3
GRACE_S = 10.0
_YEAR_MIN = 60 * 24 * 365


def launch(pending: Pending, launcher: LocalLauncher) -> bool:
    """Start workers, wait for them, show progress.

    Args:
        pending: the run.
        launcher: how many workers.

    Returns:
        Whether Ctrl-C interrupted it.

    Raises:
        OSError: the run directory fails.
    """
    run, config = pending.run, pending.config
    num_workers = max(1, min(launcher.num_workers, pending.num_pending))
    record = new_launch(pending, "local", num_workers)
    jobs = _submit(pending, record)
    interrupted = False
    try:
        say(f"workers    {num_workers} on this machine; Ctrl-C stops them")
        say(f"logs       {run.logs}/local-{record.number}-*.log")
        with Progress(pending.state, config.limit) as bar:
            _watch(pending, jobs, bar)
    except KeyboardInterrupt:
        interrupted = True
        _stop(pending, record, jobs)
    complain(pending, record)
    return interrupted


def _submit(pending: Pending, record: Launch) -> list[Any]:
    import submitit

    folder = pending.run.path / "submitit" / str(record.number)
    make_private(folder)
    executor = submitit.LocalExecutor(folder=folder)
    executor.update_parameters(timeout_min=_YEAR_MIN)
    gpus, num_gpus = _gpus(), pending.config.resources.gpus
    jobs = []
    with _ignore_interrupts():
        for index in range(record.num_workers):
            own = tuple(gpus[index * num_gpus : (index + 1) * num_gpus])
            task = WorkerTask(str(pending.run.path), record.number, index, own)
            jobs.append(executor.submit(task))
    return jobs


def check_gpus(config: Config, launcher: LocalLauncher) -> None:
    """Make sure that every worker can have GPUs of its own, before anything is made.

    Args:
        config: the config.
        launcher: how many workers.

    Raises:
        LaunchError: this machine has too few.
    """
    num_gpus = config.resources.gpus
    num_here = len(_gpus()) if num_gpus else 0
    if launcher.num_workers * num_gpus > num_here:
        raise LaunchError(
            f"launcher.num_workers={launcher.num_workers} with resources.gpus={num_gpus} need "
            f"{launcher.num_workers * num_gpus} GPUs, and {num_here} are seen on this machine "
            f"({devices.CUDA}, or nvidia-smi -L): start fewer workers, or give resources.gpus=0"
        )


def _gpus() -> list[str]:
    """GPUs to share out, as the workers are to name them."""
    seen = devices.visible()
    return [str(number) for number in range(devices.count() or 0)] if seen is None else seen


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Children inherit this: a Ctrl-C in the terminal must reach this process alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(pending: Pending, jobs: list[Any], bar: Progress) -> None:
    while True:
        running = [job for job in jobs if job._process.poll() is None]
        for _, event in pending.reader.read():
            bar.event(event)
        bar.look(pending.run, pending.config.run.lease_s)
        if not running:
            return
        time.sleep(POLL_S)


def _stop(pending: Pending, record: Launch, jobs: list[Any]) -> None:
    """Ask workers to release what they have; end those that take too long."""
    warn(f"stopping {plural(len(jobs), 'worker')} at a safe point; Ctrl-C again stops them at once")
    try:
        for job in jobs:
            if job._process.poll() is None:
                job._process.terminate()
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until and any(job._process.poll() is None for job in jobs):
            time.sleep(0.05)
    except KeyboardInterrupt:
        warn("stopping at once")
    for view in read_workers(pending.run, pending.config.run.lease_s):
        if view.identity.launch == record.number and process_runs(view.identity):
            os.kill(view.identity.pid, signal.SIGKILL)
    for job in jobs:
        if job._process.poll() is None:
            job._process.kill()


def complain(pending: Pending, record: Launch) -> None:
    """Say which workers did not end as they should, and why.

    Args:
        pending: the run.
        record: their launch, which is over.

    Returns:
        Nothing.

    Raises:
        OSError: the run directory fails.
    """
    for view in read_workers(pending.run, pending.config.run.lease_s):
        if view.identity.launch != record.number or (view.state == "ended" and not view.beat.note):
            continue
        reason = view.beat.note if view.state == "ended" else "it was killed"
        warn(f"worker {view.identity.label} stopped: {reason}")
