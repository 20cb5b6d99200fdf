"""Workers that were submitted and never began: how many, and what they left to read."""

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from hpcpipe.console import plural
from hpcpipe.launch.pending import show
from hpcpipe.launch.squeue import Task, queued_tasks
from hpcpipe.manifest.rundir import Launch, RunDir

QUEUE_TIMEOUT_S = 10.0
WROTE_NOTHING = "nothing: they were cancelled, or SLURM could not start them (see sacct -j {})"
_NUM_LINES = 5
_TAIL_BYTES = 4096


class NotStarted(msgspec.Struct, frozen=True):
    """Workers of one launch that have never begun.

    Attributes:
        launch: number of the launch.
        array_job: SLURM array job id; empty for workers on one machine.
        num_workers: workers of the launch.
        num_missing: those that have not begun.
        num_ended: those of them that never will, for SLURM has no such task any more; None where
            SLURM did not answer.
        outputs: non-empty files that SLURM or the launcher wrote for them, newest first.
    """

    launch: int
    array_job: str
    num_workers: int
    num_missing: int
    num_ended: int | None
    outputs: list[str]


def submitted(run: RunDir) -> list[Launch]:
    """Read a run's launches; an array that was submitted by hand is known by its output files.

    Args:
        run: the run.

    Returns:
        The launches in order.

    Raises:
        OSError: the run directory cannot be read.
    """
    launches = run.read_launches()
    names = (_task_of(path).partition("_")[0] for path in run.logs.glob("slurm-*_*.out"))
    arrays = {name for name in names if name.isdecimal()}
    unknown = sorted(arrays - {launch.array_job for launch in launches}, key=int)
    return [
        msgspec.structs.replace(launch, array_job=unknown[-1])
        if unknown and launch.kind == "script" and not launch.array_job
        else launch
        for launch in launches
    ]


def find_not_started(
    run: RunDir, launches: Iterable[Launch], tasks: Collection[Task] | None
) -> list[NotStarted]:
    """Find workers that have never begun, unless a later launch has some that did.

    Args:
        run: the run.
        launches: its launches in order, read before SLURM was asked.
        tasks: what SLURM has queued or running; None where it did not answer.

    Returns:
        One record a launch that lacks workers.

    Raises:
        OSError: the run directory cannot be read.
    """
    begun = {_task(path.stem.rpartition("-")[0]) for path in run.workers.glob("*.json")}
    found: list[NotStarted] = []
    for launch in launches:
        prefix = _prefix(launch)
        own = {label for label in begun if label.startswith(prefix)}
        if own:
            found.clear()
        per_job = launch.workers_per_job
        num_missing = launch.num_workers // per_job - len(own)
        if num_missing <= 0 or not (launch.array_job or launch.kind == "local"):
            continue
        num_ended = None
        if tasks is not None and launch.array_job:
            queued = {task.label for task in tasks if task.array == launch.array_job}
            num_ended = max(num_missing - len(queued - own), 0) * per_job
        number, job, num_workers = launch.number, launch.array_job, launch.num_workers
        outputs = _outputs(run, launch, own)
        num_missing *= per_job
        found.append(NotStarted(number, job, num_workers, num_missing, num_ended, outputs))
    return found


def explain(run: RunDir) -> list[str]:
    """Say which workers of a run ended without starting, asking SLURM.

    Args:
        run: the run.

    Returns:
        Lines for people; none where there are no such workers or SLURM does not answer.

    Raises:
        OSError: the run directory cannot be read.
    """
    launches = submitted(run)
    tasks = queued_tasks(launches, QUEUE_TIMEOUT_S)
    found = find_not_started(run, launches, tasks)
    return [line for item in found for line in describe(item)]


def describe(item: NotStarted) -> list[str]:
    """Say that workers ended without starting, with the end of the newest file of theirs.

    Args:
        item: the workers.

    Returns:
        Lines for people; none where no worker ended.

    Raises:
        OSError: a file cannot be read.
    """
    if not item.num_ended:
        return []
    lines = [f"{plural(item.num_ended, 'worker')} of array {item.array_job} ended without starting"]
    if not item.outputs:
        return [*lines, f"  they wrote {WROTE_NOTHING.format(item.array_job)}"]
    path = Path(item.outputs[0])
    lines.append(f"  the end of {show(path)}:")
    return [*lines, *(f"    {line}" for line in last_lines(path, _NUM_LINES))]


def last_lines(path: Path, number: int) -> list[str]:
    """Read the end of a text file.

    Args:
        path: the file.
        number: lines at most.

    Returns:
        The lines, empty ones left out.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-number:]


def _prefix(launch: Launch) -> str:
    return f"{launch.array_job}_" if launch.array_job else f"{launch.kind}-{launch.number}-"


def _task(label: str) -> str:
    """Label of a worker without its number among those of its task, and that of its requeues."""
    return re.sub(r"(\.\d+)?(r\d+)?$", "", label)


def _outputs(run: RunDir, launch: Launch, begun: set[str]) -> list[str]:
    """Non-empty output files of a launch's processes that are not those of known workers."""
    paths = [
        *run.path.glob(f"submitit/{launch.number}/*_log.err"),
        *run.path.glob(f"submitit/{launch.number}/*_log.out"),
    ]
    if launch.array_job:
        paths += run.logs.glob(f"slurm-{launch.array_job}*.out")
    left = [(path.stat(), path) for path in paths if _task_of(path) not in begun]
    newest_first = sorted(left, key=lambda item: (-item[0].st_mtime_ns, item[1]))
    return [str(path) for info, path in newest_first if info.st_size]


def _task_of(path: Path) -> str:
    """Label of the task that writes an output file: ``12_3_0_log.out``, ``slurm-12_3.out``."""
    return "_".join(path.stem.removeprefix("slurm-").split("_")[:2])
