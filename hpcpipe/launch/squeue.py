"""What SLURM says of our arrays; advice only, and few calls."""

import getpass
import re
import subprocess
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


def _command(*args: str) -> str:
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except FileNotFoundError:
        raise LaunchError(f"there is no {args[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{args[0]} did not answer within {TIMEOUT_S} s: try again") from None
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
    if not arrays:
        return {}
    text = _command("squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%F %T")
    counts: dict[str, int] = {}
    for line in text.splitlines():
        job, _, state = line.partition(" ")
        if job in arrays and state.strip() in _LIVE:
            counts[job] = counts.get(job, 0) + 1
    return counts


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


def cancel(arrays: Collection[str]) -> None:
    """Cancel all tasks of arrays that are queued or running.

    Args:
        arrays: array job ids.

    Raises:
        LaunchError: scancel does not answer or refuses.
    """
    live = sorted(live_tasks(arrays))
    if live:
        _command("scancel", *live)
