"""One worker per GPU, on a node that has several."""

import os
import sys
from pathlib import Path

import pytest

from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.workers import read_workers
from tests.slurm.user import ROOT, SMALL, User, field, run_dir
from tests.toys.runs import events_of, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

GPU = (*SMALL, "resources.gpus=1", "site.partition=gpu")
WHOLE_NODE = ("launcher.slurm.tasks_per_node=4", "launcher.array_size=4")


@pytest.fixture
def user(plain_user: User) -> User:
    """A user with shards of which four workers get one each."""
    write_inputs(plain_user.folder, **{f"s{n}": "meet 4" for n in range(4)})
    return plain_user


def launch(user: User, *args: str) -> Path:
    return run_dir(user, user.ok("stage=placed", f"stage.input={user.folder}/in", *args, "-m"))


def devices(path: Path) -> list[str]:
    """What the workers said that they were given, shard by shard."""
    return sorted(p.read_text().removesuffix(" MEET 4") for p in path.glob("out/*.out"))


def given(path: Path) -> list[tuple[float, float]]:
    """Cores and GPUs of every worker, as its heartbeat says."""
    used = [view.beat.used for view in read_workers(RunDir(path), lease_s=60)]
    return [(one.cpus, one.gpus) for one in used]


FOUR = [f"cuda {n}" for n in range(4)]


def test_each_task_of_an_array_has_its_own(user):
    path = launch(user, *GPU, "launcher.array_size=4", "wait=true")
    assert devices(path) == FOUR
    assert given(path) == [(1, 1)] * 4


def test_workers_that_share_a_job_have_their_own(user):
    path = launch(user, *GPU, *WHOLE_NODE, "wait=true")
    assert devices(path) == FOUR
    assert given(path) == [(1, 1)] * 4
    logs = {log.stem for log in path.glob("logs/*.log")}
    array = logs.pop().partition("_")[0]
    assert logs <= {f"{array}_0.{rank}" for rank in range(4)}
    assert len(list(path.glob("workers/*.json"))) == 4


def test_masked_devices_stay_as_they_are(user):
    path = launch(user, *GPU, *WHOLE_NODE, "launcher.slurm.gpus_per_task=1", "wait=true")
    assert devices(path) == FOUR
    assert given(path) == [(1, 1)] * 4


def test_more_workers_than_gpus_say_so_and_take_no_shard(user):
    write_inputs(user.folder, **{f"s{n}": "wait" for n in range(4)})
    path = launch(user, *GPU, *WHOLE_NODE, "launcher.slurm.gpus_per_node=3")
    wait_until(lambda: len(list(path.glob("out/.*.part"))) == 3)
    said = "SetupError: a worker needs 1 GPU (resources.gpus), and 0 are left for worker 4 of 4"
    wait_until(lambda: said in user.ok("status", str(path)))
    assert len(list(path.glob("claims/*/*"))) == 3
    user.ok("cancel", str(path))


def test_a_node_whose_torch_sees_no_gpu_says_so_and_takes_no_shard(user, photo_shards):
    command = ["stage=filter_faces", f"stage.input={photo_shards.shards}", *GPU]
    stdout = user.ok(*command, "stage.detector=centerface", "launcher.array_size=1", "-m")
    path = run_dir(user, stdout)
    user.cluster.wait_for([field(stdout, "array")])
    shown = " ".join(user.ok("status", str(path)).split())
    assert "SetupError: this worker is to use a GPU (resources.gpus), and torch " in shown
    assert "or use the CPU with resources.gpus=0" in shown
    assert events_of(path, "done", "failed") == []


def test_the_template_starts_a_worker_a_gpu(user):
    stdout = user.ok("stage=placed", f"stage.input={user.folder}/in", *GPU, "launcher=script", "-m")
    path = run_dir(user, stdout)
    env_bin = Path(sys.executable).parent
    job = user.cluster.sbatch(
        f"--export=ALL,PATH={env_bin}:{os.environ['PATH']}", "--partition=gpu",
        "--array=0-0", "--ntasks-per-node=4", "--gpus-per-node=4", "--mem=2G",
        "--cpus-per-task=1", f"--output={user.folder}/%A_%a.out",
        str(ROOT / "sbatch" / "worker.sbatch"), str(path),
    )  # fmt: skip
    assert set(user.cluster.wait_for(job).values()) == {"COMPLETED"}
    assert devices(path) == FOUR


def test_the_warning_before_the_limit_reaches_all_workers_of_a_job(user):
    write_inputs(user.folder, **{f"s{n}": "wait" for n in range(4)})
    path = launch(user, *GPU, *WHOLE_NODE)
    wait_until(lambda: len(list(path.glob("out/.*.part"))) == 4)
    job = RunDir(path).read_launch(1).array_job
    user.cluster.scancel("--signal=USR2", job)
    wait_until(lambda: len(events_of(path, "closed")) == 4)
    write_inputs(user.folder, **{f"s{n}": "fine" for n in range(4)})
    wait_until(lambda: "1 pending" in user.ok("status", str(path)))
    user.ok("cancel", str(path))
