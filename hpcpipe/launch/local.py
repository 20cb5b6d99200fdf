"""Workers on this machine, through submitit's local executor; waits and shows progress."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpcpipe.config import LocalLauncher
from hpcpipe.console import plural, say, warn
from hpcpipe.launch.pending import Pending, new_launch
from hpcpipe.launch.task import WorkerTask
from hpcpipe.manifest.identity import process_runs
from hpcpipe.manifest.rundir import Launch
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
    _complain(pending, record)
    return interrupted


def _submit(pending: Pending, record: Launch) -> list[Any]:
    import submitit

    folder = pending.run.path / "submitit" / str(record.number)
    folder.mkdir(parents=True)
    executor = submitit.LocalExecutor(folder=folder)
    gpus, num_gpus = _gpus(), pending.config.resources.gpus
    jobs = []
    with _ignore_interrupts():
        for index in range(record.num_workers):
            parameters: dict[str, Any] = {"timeout_min": _YEAR_MIN}
            if num_gpus:
                own = [gpus[(index * num_gpus + n) % len(gpus)] for n in range(num_gpus)]
                parameters |= {"gpus_per_node": num_gpus, "visible_gpus": own}
            executor.update_parameters(**parameters)
            jobs.append(executor.submit(WorkerTask(str(pending.run.path), record.number, index)))
    return jobs


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Children inherit this: a Ctrl-C in the terminal must reach this process alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _gpus() -> list[int]:
    """Numbers of the GPUs to share out; [0] where they cannot be counted."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible and all(part.strip().isdecimal() for part in visible.split(",")):
        return [int(part) for part in visible.split(",")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return [0]
    return list(range(len(listed.stdout.splitlines()))) or [0]


def _watch(pending: Pending, jobs: list[Any], bar: Progress) -> None:
    while True:
        running = [job for job in jobs if job._process.poll() is None]
        for _, event in pending.reader.read():
            bar.event(event)
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


def _complain(pending: Pending, record: Launch) -> None:
    """Say which workers did not end as they should, and why."""
    for view in read_workers(pending.run, pending.config.run.lease_s):
        if view.identity.launch != record.number or (view.state == "ended" and not view.beat.note):
            continue
        reason = view.beat.note if view.state == "ended" else "it was killed"
        warn(f"worker {view.identity.label} stopped: {reason}")
