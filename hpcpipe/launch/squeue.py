"""What SLURM says of our arrays; advice only, and few calls."""

import getpass
import re
import subprocess
from collections import Counter
from collections.abc import Collection

from hpcpipe.errors import LaunchError

TIMEOUT_S = 60
_DEFAULT_MAX_ARRAY_SIZE = 1001
_LIVE = frozenset(
    {
        *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED"),
        *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT"),
    }
)


def _command(*args: str, timeout_s: float = TIMEOUT_S) -> str:
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=timeout_s, check=True)
    except FileNotFoundError:
        raise LaunchError(f"there is no {args[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{args[0]} did not answer within {timeout_s:g} s: try again") from None
    except subprocess.CalledProcessError as error:
        raise LaunchError(f"{' '.join(args)}: {error.stderr.strip()}") from error
    return done.stdout


def live_tasks(arrays: Collection[str]) -> dict[str, int]:
    """Count queued and running tasks of arrays, in one call.

    Args:
        arrays: array job ids.

    Returns:
        Number of tasks by array job id; arrays that are over are not in it.

    Raises:
        LaunchError: squeue does not answer.
    """
    return dict(Counter(job for job, _ in _live(arrays, getpass.getuser(), TIMEOUT_S)))


def task_states(
    arrays: Collection[str], users: Collection[str], timeout_s: float
) -> dict[str, int]:
    """Count queued and running tasks of arrays by what SLURM calls their state, in one call.

    Args:
        arrays: array job ids.
        users: who submitted them.
        timeout_s: how long to wait for an answer.

    Returns:
        Number of tasks by state (``PENDING``, ``RUNNING``, ...); states without one are left out.

    Raises:
        LaunchError: squeue does not answer.
    """
    return dict(Counter(state for _, state in _live(arrays, ",".join(users), timeout_s)))


def _live(arrays: Collection[str], users: str, timeout_s: float) -> list[tuple[str, str]]:
    """Array job id and state of every task that is not over."""
    if not arrays:
        return []
    args = ("squeue", "-h", "-r", "-u", users, "-o", "%F %T")
    lines = _command(*args, timeout_s=timeout_s).splitlines()
    pairs = [(job, state.strip()) for job, _, state in (line.partition(" ") for line in lines)]
    return [(job, state) for job, state in pairs if job in arrays and state in _LIVE]


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
    if live:
        _command("scancel", *sorted(live))
    return live
