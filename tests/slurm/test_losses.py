"""Nodes and workers that are lost, stand still, have another clock, or hang.

The nodes of the test cluster are made to look like machines of their own, so that workers have
only each other's heartbeats to go by.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.workers import WorkerView, read_workers
from tests.faults.faults import Fault, Faults
from tests.slurm.config import user_name
from tests.slurm.user import SMALL, User, run_dir
from tests.toys.runs import events_of, parts_left, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

NAMES = [f"s{n:02d}" for n in range(16)]
SETTINGS = ("LD_PRELOAD", "FAULTS_RULES", "FAULTS_LOG")
LEASE_S = 4
QUICK = ("run.heartbeat_s=0.5", f"run.lease_s={LEASE_S}", "run.linger_s=30", "run.backoff_s=1")


class Scene:
    """A run of toy shards with workers on both nodes, of which no more than four fit on one."""

    def __init__(self, user: User, faults: Faults, *args: str, **texts: str) -> None:
        """Submit it. Shards without a text are at hand until the gate is opened."""
        self.user, self.gate = user, user.folder / "gate"
        self.shards = {name: f"gate {self.gate}" for name in NAMES} | texts
        write_inputs(user.folder, **self.shards)
        env = faults.env()
        own = " ".join(f"{name}={env[name]}" for name in SETTINGS)
        setup = f"export {own} FAULTS_WHO=$SLURMD_NODENAME FAULTS_MACHINE=$SLURMD_NODENAME"
        self.command = (
            "stage=toy", f"stage.input={user.folder}/in", *SMALL, *QUICK, "resources.cpus=2",
            f"site.setup=['{setup}']", *args, "-m",
        )  # fmt: skip
        self.path = run_dir(user, user.ok(*self.command))
        self.array = RunDir(self.path).read_launch(1).array_job

    def workers(self, node: str) -> list[WorkerView]:
        found = read_workers(RunDir(self.path), LEASE_S)
        return [view for view in found if view.identity.node == node]

    def claimed_by(self, *workers: WorkerView) -> list[str]:
        """The shards that workers have claimed and not finished; exact where they stand still."""
        names, ids = {worker.identity.name for worker in workers}, sorted(self.shards)
        done = {event.shard for event in events_of(self.path, "done")}
        owners = {path: json.loads(path.read_bytes()) for path in self.path.glob("claims/*/*.1")}
        shards = [ids[int(path.stem)] for path, own in owners.items() if own["name"] in names]
        return [shard for shard in shards if shard not in done]

    def are_at_work(self, num: int) -> bool:
        """Whether so many workers of each node are at a shard."""
        views = [view for view in read_workers(RunDir(self.path), LEASE_S) if view.beat.shard]
        number = Counter(view.identity.node for view in views)
        return number["n1"] >= num and number["g1"] >= num

    def status(self) -> Counter[tuple[str, str]]:
        """Number of workers by node and what status says of them."""
        told = json.loads(self.user.ok("status", str(self.path), "--json"))
        return Counter((view["identity"]["node"], view["state"]) for view in told["workers"])

    def lost(self) -> Counter[str]:
        """Lost attempts by shard; two workers may have seen the same loss."""
        ids = sorted(self.shards)
        lost = {(int(event.block), event.attempt) for event in events_of(self.path, "lost")}
        return Counter(ids[block] for block, _ in lost)

    def check(self) -> None:
        """The run ends complete, with every shard done once and the bytes of a calm run."""
        assert "complete" in self.user.ok(*self.command, "wait=true")
        done = Counter(event.shard for event in events_of(self.path, "done"))
        assert done == Counter(list(self.shards))
        made = {path.stem: path.read_text() for path in (self.path / "out").glob("*.out")}
        assert made == {name: f"hello {text.upper()}" for name, text in self.shards.items()}
        assert events_of(self.path, "failed") == []
        assert parts_left(self.path) == []


@pytest.fixture
def user(plain_user: User) -> Iterator[User]:
    """A user of a cluster on which nothing else runs, and all of whose nodes come back."""
    wait_until(lambda: plain_user.cluster.squeue().strip() == "")
    yield plain_user
    plain_user.cluster.revive_node("g1")
    plain_user.cluster.scancel("--user", user_name())
    state = ("sinfo", "-h", "-n", "g1", "-p", "gpu", "-o", "%t")
    wait_until(lambda: plain_user.cluster.run(*state).strip() == "idle")


def test_a_node_is_gone(user, faults):
    scene = Scene(user, faults, "launcher.array_size=8")
    wait_until(lambda: scene.are_at_work(4))
    gone = scene.workers("g1")
    user.cluster.kill_node("g1", [worker.identity.pid for worker in gone])
    at_hand = scene.claimed_by(*gone)
    assert len(at_hand) == 4
    scene.gate.touch()
    wait_until(lambda: set(scene.lost()) >= set(at_hand))
    status = scene.status()
    assert status["g1", "silent"] == len(gone)
    assert status["n1", "silent"] == 0
    assert scene.lost() == Counter(at_hand), "each is taken over once"
    assert {event.host for event in events_of(scene.path, "lost")} == {"g1"}
    user.cluster.revive_node("g1")
    scene.check()
    attempts = {event.shard: event.attempt for event in events_of(scene.path, "done")}
    assert {shard for shard, attempt in attempts.items() if attempt == 2} == set(at_hand)


def test_a_worker_stands_still_past_its_lease_among_clocks_an_hour_apart(user, faults):
    faults.set(Fault("clock", what="shift", seconds=3600, who="n1"))
    scene = Scene(user, faults, "launcher.array_size=8")
    wait_until(lambda: scene.are_at_work(4))
    running = scene.status()
    assert running["n1", "silent"] == running["g1", "silent"] == 0
    still = scene.workers("g1")[0]
    os.kill(still.identity.pid, signal.SIGSTOP)
    at_hand = scene.claimed_by(still)
    assert len(at_hand) == 1
    scene.gate.touch()
    wait_until(lambda: set(scene.lost()) >= set(at_hand))
    assert scene.status()["g1", "silent"] == 1
    os.kill(still.identity.pid, signal.SIGCONT)
    scene.check()
    assert scene.lost() == Counter(at_hand)
    hosts = {event.host for event in events_of(scene.path, "done")}
    assert hosts == {"n1", "g1"}, "a worker with another clock works like the others"


def test_a_shard_that_kills_its_workers_is_quarantined_with_the_nodes_named(user, faults):
    more = ("launcher.array_size=8", "run.max_lost=2")
    scene = Scene(user, faults, *more, **dict.fromkeys(NAMES, "one"), killer="kill 99")
    codes = []
    while codes[-1:] != [3]:
        # A worker for one shard alone: none is left to try it again.
        codes.append(user.hpcpipe(*scene.command, "wait=true").returncode)
        assert codes in ([4] * n + last for n in range(4) for last in ([], [3])), codes
    nodes = {event.host for event in events_of(scene.path, "lost")}
    num_lost = scene.lost()["killer"]
    assert (2 if len(nodes) == 2 else 4) <= num_lost <= 4
    told = user.ok("status", str(scene.path))
    assert f"{num_lost} workers died over it, on {', '.join(sorted(nodes))}" in told
    history = user.ok("logs", str(scene.path), "killer")
    assert all(f" on {node}" in history for node in nodes), history
    assert not (scene.path / "out" / "killer.out").exists()


def test_hung_work_ends_its_worker_whose_job_is_queued_again(user, faults):
    shards = {"a": "hang", "b": "one"}
    more = ("launcher.array_size=1", "run.shard_timeout_s=2", "run.max_attempts=2", "wait=true")
    write_inputs(user.folder, **shards)
    done = user.hpcpipe("stage=toy", f"stage.input={user.folder}/in", *SMALL, *QUICK, *more, "-m")
    assert done.returncode == 3, done.stdout + done.stderr
    path = run_dir(user, done.stdout)
    failed = events_of(path, "failed")
    assert [(e.shard, e.attempt) for e in failed] == [("a", 1), ("a", 2)]
    assert "no progress for 2 s (run.shard_timeout_s)" in failed[0].error
    assert [e.shard for e in events_of(path, "done")] == ["b"]
    array = RunDir(path).read_launch(1).array_job
    assert set(user.cluster.wait_for(array).values()) == {"COMPLETED"}
    assert {log.stem for log in path.glob("logs/*.log")} == {
        f"{array}_0{restart}" for restart in ("", "r1", "r2")
    }
    assert "shard a: no progress for 2 s" in user.ok("status", str(path))
