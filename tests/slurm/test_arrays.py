"""More workers than one array or one user may have, and limits over several arrays."""

import re

import pytest

from hpcpipe.manifest.rundir import RunDir
from tests.slurm.cluster import Cluster
from tests.slurm.config import user_name
from tests.slurm.user import SMALL, User, run_dir
from tests.toys.runs import events_of, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm


def toys(user: User, number: int, text: str = "x") -> tuple[str, ...]:
    write_inputs(user.folder, **{f"s{n:02d}": text for n in range(number)})
    return ("stage=toy", f"stage.input={user.folder}/in", *SMALL)


def sizes(path) -> list[tuple[int, int]]:
    return [(launch.num_workers, launch.max_jobs) for launch in RunDir(path).read_launches()]


def test_several_arrays_where_one_may_not_be_so_large(slurm_no_accounting, tmp_path):
    user = User(slurm_no_accounting, tmp_path)
    stdout = user.ok(*toys(user, 40), "wait=true", "-m")
    path = run_dir(user, stdout)
    assert sizes(path) == [(16, 0), (16, 0), (8, 0)]
    assert stdout.count("array ") == 3
    assert len(events_of(path, "done")) == 40


def test_limits_of_a_runs_arrays_add_up(slurm_no_accounting, tmp_path):
    user = User(slurm_no_accounting, tmp_path)
    command = (*toys(user, 40, "wait"), "-m", "launcher.array_size=20")
    path = run_dir(user, user.ok(*command, "launcher.max_parallel=17"))
    assert sizes(path) == [(16, 13), (4, 4)]
    again = user.ok(*command, "launcher.array_size=30", "launcher.max_parallel=17")
    assert "17 of them may run at a time (launcher.max_parallel)" in again
    user.ok(*command, "launcher.array_size=22", "launcher.max_parallel=18")
    assert sizes(path)[2:] == [(2, 1)]
    arrays = [launch.array_job for launch in RunDir(path).read_launches()]
    shown = [user.cluster.scontrol("show", "job", array) for array in arrays]
    assert [re.findall(r"ArrayTaskThrottle=(\d+)", text)[0] for text in shown] == ["13", "4", "1"]
    user.ok("cancel", str(path))


def num_submitted(cluster: Cluster) -> int:
    """Jobs of this user that SLURM counts, none of which is left in the queue.

    It goes on counting some of those that were queued again and then cancelled.
    """
    wait_until(lambda: cluster.squeue().strip() == "")
    usage = cluster.scontrol("show", "assoc_mgr", f"users={user_name()}", "flags=assoc")
    own = usage[usage.index(f"Account=hpcpipe UserName={user_name()}(") :]
    return int(re.findall(r"GrpSubmitJobs=N\((\d+)\)", own)[0])


@pytest.fixture
def limited(slurm, tmp_path):
    """A user who may have six jobs more queued or running, and has none."""
    change = ("sacctmgr", "-i", "modify", "user", user_name(), "set")
    slurm.run(*change, f"MaxSubmitJobs={num_submitted(slurm) + 6}")
    yield User(slurm, tmp_path)
    slurm.run(*change, "MaxSubmitJobs=-1")


def test_no_more_than_the_account_allows_and_the_rest_later(limited):
    command = (*toys(limited, 20, "wait"), "-m", "launcher.array_size=20")
    path = run_dir(limited, limited.ok(*command))
    assert sizes(path) == [(5, 0)]
    assert "(beside 5 that are queued or running)" in limited.ok(*command)
    assert sizes(path) == [(5, 0), (1, 0)]
    refused = limited.hpcpipe(*command)
    assert refused.returncode == 2
    assert "MaxSubmitJobLimit" in refused.stderr
    limited.ok("cancel", str(path))
