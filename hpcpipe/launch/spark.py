"""Workers as tasks of a Spark cluster, one each; waits and shows progress.

A task may run twice or again (speculation, lost executors): claims make that harmless, and workers
stay to the end of the run, so that no copy of a task ends before the one that is at work.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from hpcpipe.config import SparkLauncher
from hpcpipe.console import plural, say, warn
from hpcpipe.launch import task
from hpcpipe.launch.local import complain
from hpcpipe.launch.pending import Pending, new_launch
from hpcpipe.launch.spark_session import reason, spark_context
from hpcpipe.manifest.claims_folder import open_claims
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.progress import Progress
from hpcpipe.runtime.workers import read_workers

if TYPE_CHECKING:
    from pyspark import SparkContext

POLL_S = 0.3
GRACE_S = 20.0
"""Spark takes seconds to end a task, and its worker then gives back what it has."""
_GIVEN_UP = re.compile(r"Task \d+ in stage \S+ failed \d+ times")
_MAX_REASONS = 5


def launch(pending: Pending, launcher: SparkLauncher) -> bool:
    """Start workers, wait for them, show progress.

    Args:
        pending: the run.
        launcher: how many workers, and where.

    Returns:
        Whether Ctrl-C interrupted it.

    Raises:
        LaunchError: there is no Spark session to be had.
        OSError: the run directory fails.
    """
    run, config = pending.run, pending.config
    num_workers = max(1, min(launcher.num_workers, pending.num_pending))
    name = f"hpcpipe {config.stage_name} {config.run_name}"
    with spark_context(launcher.master, name) as context:
        open_claims(run.path)  # tasks that come when it is closed again have nothing to do
        record = new_launch(pending, "spark", num_workers)
        say(f"workers    {plural(num_workers, 'task')} of Spark at {context.master}")
        say(f"logs       {run.logs}/spark-{record.number}-*.log")
        with Progress(pending.state, config.limit) as bar:
            reports = _work(context, pending, record, bar)
    complain(pending, record)
    _complain_of_missing(pending, record, reports or [])
    return reports is None


def _work(
    context: "SparkContext", pending: Pending, record: Launch, bar: Progress
) -> list[str] | None:
    """Run the tasks; returns what each said, or None after Ctrl-C.

    Spark gives all of them up where one has lost its executor a few times, whatever the others do.
    """
    while True:
        job = _submit(context, pending, record)
        try:
            num_done = _follow(pending, job, bar)
        except KeyboardInterrupt:
            _stop(context, pending, record, job)
            return None
        error = job.exception()
        if error is None:
            return job.result()
        warn(f"Spark has given up: {reason(error)}")
        if not num_done or not _GIVEN_UP.search(str(error)):
            return []
        warn("shards were done meanwhile: the tasks are started again")


def _submit(context: "SparkContext", pending: Pending, record: Launch) -> "Future[list[str]]":
    work = _task(str(pending.run.path), record.number, task.VISIBLE_S)
    num_workers = record.num_workers

    def run() -> list[str]:
        context.setJobGroup(_group(pending, record), f"workers of {pending.run.path}")
        return context.parallelize(range(num_workers), num_workers).map(work).collect()

    pool = ThreadPoolExecutor(1)
    job = pool.submit(run)
    pool.shutdown(wait=False)
    return job


def _task(run_dir: str, number: int, visible_s: float) -> Callable[[int], str]:
    # A function within one is sent as code, and so can say that an executor has no hpcpipe.
    def work(index: int) -> str:
        import socket
        import sys

        try:
            from hpcpipe.launch.spark_task import work_in_task
        except ImportError as error:
            return (
                f"{sys.executable} on {socket.gethostname()} has no hpcpipe ({error}): set "
                "PYSPARK_PYTHON to a Python on the executors that has it and the stage's extras"
            )
        return work_in_task(run_dir, number, index, visible_s)

    return work


def _group(pending: Pending, record: Launch) -> str:
    return f"{pending.run.path} {record.number}"


def _follow(pending: Pending, job: "Future[list[str]]", bar: Progress) -> int:
    """Show what workers do until all have ended; returns the number of shards done."""
    num_done = 0
    while True:
        is_over = job.done()
        for _, event in pending.reader.read():
            num_done += event.event == "done"
            bar.event(event)
        bar.look(pending.run, pending.config.run.lease_s)
        if is_over:
            return num_done
        time.sleep(POLL_S)


def _stop(
    context: "SparkContext", pending: Pending, record: Launch, job: "Future[list[str]]"
) -> None:
    """Have Spark end the tasks, and wait while their workers give back what they have."""
    warn("stopping the workers, which give back what they have; Ctrl-C again does not wait")
    until = time.monotonic() + GRACE_S
    with suppress(KeyboardInterrupt):
        while time.monotonic() < until and (not job.done() or _num_running(pending, record)):
            # Again each time, since the job may have been about to begin.
            context.cancelJobGroup(_group(pending, record))
            time.sleep(POLL_S)


def _num_running(pending: Pending, record: Launch) -> int:
    views = read_workers(pending.run, pending.config.run.lease_s)
    return sum(view.identity.launch == record.number and view.state == "running" for view in views)


def _complain_of_missing(pending: Pending, record: Launch, reports: list[str]) -> None:
    """Say why workers did not begin; what became of the others, they have written themselves."""
    views = read_workers(pending.run, pending.config.run.lease_s)
    begun = {view.identity.label for view in views}
    reasons = Counter(
        report
        for index, report in enumerate(reports)
        if report and task.worker_label(record, index) not in begun
    )
    for why, number in reasons.most_common(_MAX_REASONS):
        warn(f"{plural(number, 'worker')} did not begin: {why}")
