"""What SLURM says of our arrays; advice only, and few calls."""

import contextlib
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from hpcpipe.errors import LaunchError
from hpcpipe.manifest.rundir import Launch

TIMEOUT_S = 60
_DEFAULT_MAX_ARRAY_SIZE = 1001
_LIVE = frozenset(
    {
        *("PENDING", "RUNNING", "CONFIGURING", "SUSPENDED", "STOPPED", "REQUEUED"),
        *("REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT"),
    }
)
_FORGOTTEN = "Invalid job id specified"
"""What it says where it is asked for one job; of several it lists those it knows."""
_CLOCK_SLACK = timedelta(seconds=30)


class Task(NamedTuple):
    """One task of an array that is queued or running.

    Attributes:
        array: array job id.
        label: ``ARRAY_INDEX``, as its worker is called.
        state: SLURM's word for it: ``PENDING``, ``RUNNING``, ...
        reason: why it is pending, in SLURM's words; ``None`` where it gives no reason.
    """

    array: str
    label: str
    state: str
    reason: str


def _command(*args: str, timeout_s: float = TIMEOUT_S) -> str:
    try:
        done = subprocess.run(
            args,
            env=os.environ | {"SLURM_TIME_FORMAT": "standard"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=True,
        )
    except FileNotFoundError:
        raise LaunchError(f"there is no {args[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{args[0]} did not answer within {timeout_s:g} s: try again") from None
    except subprocess.CalledProcessError as error:
        raise LaunchError(f"{' '.join(args)}: {error.stderr.strip()}") from error
    return done.stdout


def live_tasks(arrays: Collection[str]) -> dict[str, int]:
    """Count queued and running tasks of arrays, whoever submitted them, in one call.

    Args:
        arrays: array job ids.

    Returns:
        Number of tasks by array job id; arrays that are over are not in it.

    Raises:
        LaunchError: squeue does not answer.
    """
    return dict(Counter(task.array for task in tasks_of(arrays)))


def tasks_of(arrays: Collection[str]) -> list[Task]:
    """List queued and running tasks of arrays. Raises LaunchError where squeue does not answer."""
    return _live(arrays, TIMEOUT_S)


def queued_tasks(launches: Iterable[Launch], timeout_s: float) -> list[Task] | None:
    """List queued and running tasks of launches, in one call.

    Args:
        launches: the launches.
        timeout_s: how long to wait for an answer.

    Returns:
        The tasks; None where SLURM cannot be asked or does not answer.

    Raises:
        Nothing.
    """
    arrays = {launch.array_job for launch in launches if launch.array_job}
    if arrays and shutil.which("squeue") is None:
        return None
    try:
        return _live(arrays, timeout_s)
    except LaunchError:
        return None


def _live(arrays: Collection[str], timeout_s: float) -> list[Task]:
    if not arrays:
        return []
    jobs = ",".join(sorted(arrays))
    args = ("squeue", "-h", "-r", f"--jobs={jobs}", "-o", "%F %K %T %e %r")
    try:
        answer = _command(*args, timeout_s=timeout_s)
    except LaunchError as error:
        if _FORGOTTEN in str(error):
            return []
        raise
    tasks = []
    for line in answer.splitlines():
        array, index, state, end, reason = line.split(None, 4)
        if state == "COMPLETING" and not _has_ended(end):
            state = "PENDING"
        if array in arrays and state in _LIVE:
            label = f"{array}_{index if index.isdecimal() else 0}"
            tasks.append(Task(array, label, state, reason.strip()))
    return tasks


def _has_ended(end: str) -> bool:
    """Whether a COMPLETING task is over: one that is queued again has its next end, or none."""
    try:
        return datetime.fromisoformat(end) < datetime.now() + _CLOCK_SLACK
    except ValueError:
        return False


def num_live_tasks(arrays: Collection[str]) -> int:
    """Number of queued and running tasks of all these arrays. Raises LaunchError."""
    return sum(live_tasks(arrays).values())


def max_array_size() -> int:
    """Largest number of tasks this cluster takes in one array.

    Returns:
        MaxArraySize, or max_array_tasks where that is smaller.

    Raises:
        LaunchError: scontrol does not answer.
    """
    text = _command("scontrol", "show", "config")
    sizes = [int(n) for n in re.findall(r"(?:MaxArraySize\s*=|max_array_tasks=)\s*(\d+)", text)]
    return min(sizes, default=_DEFAULT_MAX_ARRAY_SIZE)


def cancel(arrays: Collection[str]) -> dict[str, int]:
    """Cancel all tasks of arrays that are queued or running.

    Args:
        arrays: array job ids.

    Returns:
        Number of tasks that were queued or running, by array job id.

    Raises:
        LaunchError: squeue or scancel does not answer, or refuses.
    """
    live = live_tasks(arrays)
    try:
        if live:
            _command("scancel", *sorted(live))
    except LaunchError as error:
        if "denied" in str(error):
            raise LaunchError(f"{error}; only who submitted a job can cancel it") from error
        raise
    return live


def exclude(arrays: Collection[str], nodes: str) -> None:
    """Have the pending tasks of arrays started on other nodes; what runs there goes on.

    Args:
        arrays: array job ids.
        nodes: all nodes to leave out, with commas.

    Raises:
        Nothing: SLURM refuses it for the tasks that run, and may for all of them.
    """
    jobs = ",".join(sorted(arrays))
    with contextlib.suppress(LaunchError):
        _command("scontrol", "update", f"JobId={jobs}", f"ExcNodeList={nodes}")
