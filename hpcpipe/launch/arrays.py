"""How many arrays a launch submits, of which sizes, and how many of their jobs run at a time.

SLURM's ``%`` limits one array; what the user limits is the run.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hpcpipe.manifest.rundir import Launch


class Array(NamedTuple):
    """One array to be submitted.

    Attributes:
        num_jobs: its size.
        max_jobs: jobs of it that may run at a time; None for all.
    """

    num_jobs: int
    max_jobs: int | None


def num_live_workers(launches: Iterable[Launch], live: Mapping[str, int]) -> int:
    """Count the workers that are queued or running.

    Args:
        launches: the run's launches.
        live: queued and running jobs by array.

    Returns:
        Number of workers.

    Raises:
        Nothing.
    """
    arrays = {launch.array_job: launch.workers_per_job for launch in launches}
    return sum(number * arrays.get(array, 1) for array, number in live.items())


def num_running_at_most(launches: Iterable[Launch], live: Mapping[str, int]) -> int:
    """Count the workers that live arrays may have running at a time.

    Args:
        launches: the run's launches.
        live: queued and running jobs by array.

    Returns:
        Number of workers, by the arrays' own limits.

    Raises:
        Nothing.
    """
    arrays = {launch.array_job: launch for launch in launches}
    return sum(
        min(number, arrays[array].max_jobs or number) * arrays[array].workers_per_job
        for array, number in live.items()
        if array in arrays
    )


def plan_arrays(num_jobs: int, max_array_size: int, max_jobs: int | None) -> list[Array]:
    """Divide jobs among arrays.

    Args:
        num_jobs: jobs wanted.
        max_array_size: largest array the cluster takes.
        max_jobs: jobs that may run at a time, over all arrays; None for all.

    Returns:
        The arrays, whose limits add up to `max_jobs`. No more of them than can run at a time,
        since workers beyond that would only wait for the end of others.

    Raises:
        Nothing.
    """
    num_arrays = -(-min(num_jobs, max_jobs or num_jobs) // max_array_size)
    num_jobs = min(num_jobs, num_arrays * max_array_size)
    arrays, num_before, limit_before = [], 0, 0
    while num_before < num_jobs:
        size = min(max_array_size, num_jobs - num_before)
        num_before += size
        limit = None
        if max_jobs is not None:
            limit = max_jobs * num_before // num_jobs - limit_before
            limit_before += limit
        arrays.append(Array(size, limit))
    return arrays
