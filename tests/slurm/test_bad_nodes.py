"""A node on which every shard fails."""

import json
from collections import Counter

import pytest

from hpcpipe.manifest.rundir import RunDir
from tests.slurm.user import SMALL, User, run_dir
from tests.toys.runs import events_of, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm


@pytest.fixture
def command(plain_user: User) -> tuple[str, ...]:
    """A run of 60 shards of which each has one try; four workers a node."""
    write_inputs(plain_user.folder, **{f"s{n:02d}": "slow 0.1" for n in range(60)})
    return (
        "stage=spoilt", f"stage.input={plain_user.folder}/in", *SMALL, "resources.cpus=2",
        "run.max_attempts=1", "run.backoff_s=2", "launcher.exclude_bad_nodes=3",
        "launcher.array_size=8", "wait=true", "-m",
    )  # fmt: skip


def test_a_bad_node_is_left_and_what_it_spoilt_is_done_elsewhere(plain_user, command):
    (plain_user.folder / "bad-nodes").write_text("g1")
    first = plain_user.hpcpipe(*command)
    assert first.returncode == 3, first.stdout + first.stderr
    path = run_dir(plain_user, first.stdout)
    failed = Counter(event.host for event in events_of(path, "failed"))
    assert set(failed) == {"g1"}
    assert 3 <= failed["g1"] <= 20
    assert {event.host for event in events_of(path, "done")} == {"n1"}
    status = json.loads(plain_user.ok("status", str(path), "--json"))
    assert [(n["name"], n["num_failed"]) for n in status["bad_nodes"]] == [("g1", failed["g1"])]
    told = plain_user.ok("status", str(path))
    assert f"bad node   g1: {failed['g1']} failures, 0 done; workers leave it" in told
    assert "bad node g1:" in told.partition("failures\n")[0], "the workers on it say why"
    second = plain_user.ok(*command, "launcher.slurm.exclude=p1")
    assert "left out   node g1: " in second
    assert f"again      {failed['g1']} shards" in second
    array = RunDir(path).read_launches()[-1].array_job
    assert "ExcNodeList=g1,p1" in plain_user.cluster.scontrol("show", "job", array)
    assert len(events_of(path, "done")) == 60


def test_where_all_nodes_fail_alike_none_is_left_out(plain_user, command):
    (plain_user.folder / "bad-nodes").write_text("g1 n1")
    done = plain_user.hpcpipe(*command, "limit=12")
    assert done.returncode == 3
    path = run_dir(plain_user, done.stdout)
    assert len(events_of(path, "failed")) == 12
    assert json.loads(plain_user.ok("status", str(path), "--json"))["bad_nodes"] == []


def test_pending_tasks_are_sent_elsewhere_too(plain_user, command):
    (plain_user.folder / "bad-nodes").write_text("g1")
    write_inputs(plain_user.folder, **{f"s{n:02d}": "slow 2" for n in range(60)})
    # Five do not fit on one of the nodes, and seven wait.
    more = ("launcher.max_parallel=5", "launcher.array_size=12", "wait=false")
    path = run_dir(plain_user, plain_user.ok(*command, *more))
    array = RunDir(path).read_launch(1).array_job
    wait_until(lambda: "ExcNodeList=g1" in plain_user.cluster.scontrol("show", "job", array))
    plain_user.ok("cancel", str(path))
