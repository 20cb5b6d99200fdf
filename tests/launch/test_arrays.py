"""How jobs are divided among arrays, and whose limits add up."""

from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.launch.arrays import Array, num_live_workers, num_running_at_most, plan_arrays
from hpcpipe.manifest.rundir import Launch

SIZES = st.integers(1, 50)


def launch(array, workers_per_job=1, max_jobs=0):
    return Launch(
        1, "slurm", 8, array_job=array, workers_per_job=workers_per_job, max_jobs=max_jobs
    )


def test_one_array_where_it_is_large_enough():
    assert plan_arrays(16, 16, None) == [Array(16, None)]
    assert plan_arrays(3, 16, 2) == [Array(3, 2)]


def test_as_many_arrays_as_it_takes():
    assert plan_arrays(40, 16, None) == [Array(16, None), Array(16, None), Array(8, None)]


def test_no_array_is_made_only_to_wait():
    assert plan_arrays(40, 16, 4) == [Array(16, 4)]
    assert plan_arrays(40, 16, 20) == [Array(16, 10), Array(16, 10)]


@given(SIZES, SIZES, SIZES)
def test_limits_add_up(num_jobs, max_array_size, max_jobs):
    arrays = plan_arrays(num_jobs, max_array_size, max_jobs)
    assert sum(array.max_jobs for array in arrays) == max_jobs
    assert all(array.max_jobs >= 1 for array in arrays)
    assert all(1 <= array.num_jobs <= max_array_size for array in arrays)
    assert sum(array.num_jobs for array in arrays) >= min(num_jobs, max_jobs)


def test_what_live_arrays_may_run():
    launches = [launch("1", max_jobs=3), launch("2"), launch("3", 4, 2), launch("4", max_jobs=9)]
    live = {"1": 8, "2": 5, "3": 7, "4": 2}
    assert num_live_workers(launches, live) == 8 + 5 + 28 + 2
    assert num_running_at_most(launches, live) == 3 + 5 + 8 + 2
