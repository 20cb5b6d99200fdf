"""Whole pipelines on a real SLURM, by the commands a user types."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from hpcpipe.manifest.pipeline_records import Job
from tests.data.make_shards import make_edits, make_shards, read_shard
from tests.slurm.config import user_name
from tests.slurm.test_arrays import num_submitted
from tests.slurm.user import ROOT, SMALL, User, field
from tests.toys.runs import events_of, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm


@pytest.fixture
def user(slurm, tmp_path):
    return User(slurm, tmp_path)


def chain(user: User, *overrides: str) -> list[str]:
    return [
        "pipeline=chain",
        f"pipeline.input={user.folder}/in",
        f"pipeline.output={user.folder}/out",
        "launcher.array_size=2",
        *SMALL,
        *overrides,
        "-m",
    ]


def pipeline_dir(user: User, stdout: str) -> Path:
    return user.folder / field(stdout, "pipeline")


def status(user: User) -> dict:
    return json.loads(user.ok("status", "chain", "--json"))


def states(user: User) -> list[str]:
    return [step["state"] for step in status(user)["steps"]]


def done_by_step(user: User) -> dict[str, Counter]:
    return {
        step["name"]: Counter(e.shard for e in events_of(Path(step["run_dir"]), "done"))
        for step in status(user)["steps"]
        if step["run_dir"]
    }


def jobs(path: Path) -> list[Job]:
    files = sorted((path / "jobs").glob("*.json"), key=lambda file: int(file.stem))
    return [msgspec.json.decode(file.read_bytes(), type=Job) for file in files]


def is_over(user: User) -> bool:
    return status(user)["state"] not in ("running", "queued")


def test_three_steps_each_planned_after_the_one_above_and_on_resources_of_its_own(user):
    write_inputs(user.folder, **{f"s{n}": "slow 0.2" for n in range(6)})
    gpu = ["third.resources=gpu", "third.resources.cpus=1", "third.resources.mem_gb=0.5"]
    command = chain(user, *gpu)
    stdout = user.ok(*command)
    path = pipeline_dir(user, stdout)
    second, third = jobs(path)
    assert second.after == (field(stdout, "array"),)
    assert set(third.after) == {second.plan_job, second.array_job}
    asked = {job: user.cluster.scontrol("show", "job", job) for job in third.ids}
    assert "gpu" in asked[third.array_job]
    assert "gpu" not in asked[third.plan_job]
    assert "NumCPUs=1 " in asked[third.plan_job]
    assert "of 3 steps complete" in user.ok("status", str(path))
    assert user.hpcpipe(*command, "wait=true").returncode == 0
    assert states(user) == ["complete"] * 3
    done = done_by_step(user)
    assert done == {name: Counter(f"s{n}" for n in range(6)) for name in done}
    nodes = {e.host for e in events_of(Path(status(user)["steps"][2]["run_dir"]), "done")}
    assert nodes == {"g1"}
    made = (user.folder / "out" / "third" / "s0.out").read_text()
    assert made == "hello HELLO HELLO SLOW 0.2"
    again = user.ok(*command)
    assert again.count("complete: nothing left to do") == 3
    assert jobs(path) == [second, third]


def test_the_launcher_script_builds_a_dataset_without_accounting(slurm_no_accounting, tmp_path):
    user = User(slurm_no_accounting, tmp_path)
    make_shards(tmp_path / "shards", num_shards=3, num_samples=7)
    make_edits(tmp_path / "shards", tmp_path / "edits")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = ["pipeline.edits=edits", "pipeline.shard_samples=5", "pipeline.keys=keep"]
    settings += [*SMALL, "launcher.array_size=2", "wait=true"]
    done = subprocess.run(
        [ROOT / "launchers" / "build_dataset.sh", "shards/*.tar", "built", *settings],
        cwd=tmp_path, env={**user.env, "PATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("waiting    for plan job") == 2
    tars = sorted((tmp_path / "built" / "shards").glob("*.tar"))
    assert [len(read_shard(tar)) for tar in tars] == [5, 5, 5, 5, 1]
    wanted = {key: sample for n in range(3) for key, sample in edited(tmp_path, n).items()}
    assert {key: sample for tar in tars for key, sample in read_shard(tar).items()} == wanted


def edited(folder: Path, number: int) -> dict[str, dict[str, bytes]]:
    """A shard with its edits put in by plain means."""
    samples = read_shard(folder / "shards" / f"{number:05d}.tar")
    made = {key: dict(sample) for key, sample in samples.items()}
    for path in sorted((folder / "edits" / f"{number:05d}").iterdir()):
        key, _, extension = path.name.partition(".")
        made[key][extension] = path.read_bytes()
    return made


def test_a_step_that_fails_stops_what_depends_on_it_and_goes_on_within_its_allowance(user):
    write_inputs(user.folder, a="one", b="bad", c="three")
    command = chain(user)
    done = user.hpcpipe(*command, "wait=true")
    assert done.returncode == 3
    path = pipeline_dir(user, done.stdout)
    wait_until(lambda: is_over(user))
    assert states(user) == ["quarantined", "not planned", "not planned"]
    _, second, third = status(user)["steps"]
    assert "step first failed: 1 of 3 shards are quarantined" in second["reason"]
    assert "first.run.max_failed_fraction=0 allows" in second["reason"]
    assert "step second was never planned" in third["reason"]
    assert "second is not planned" in user.ok("status", str(path))
    for job in jobs(path):
        assert set(user.cluster.wait_for(job.array_job).values()) == {"CANCELLED"}
    user.ok(*command, "first.run.max_failed_fraction=0.4", "wait=true")
    assert states(user) == ["complete"] * 3
    assert done_by_step(user) == {name: Counter("ac") for name in ("first", "second", "third")}
    write_inputs(user.folder, b="mended")
    user.ok("retry", "chain")
    command.append("first.run.max_failed_fraction=0.4")
    done = user.hpcpipe(*command, "wait=true")
    assert done.returncode == 4
    assert f"{user.folder}/out/first has changed since run" in done.stderr
    wait_until(lambda: is_over(user))
    assert states(user)[:2] == ["complete", "outdated"]
    user.ok(*command, "extend=true", "wait=true")
    assert states(user) == ["complete"] * 3
    assert done_by_step(user) == {name: Counter("abc") for name in ("first", "second", "third")}


def test_cancel_takes_all_jobs_and_the_same_command_goes_on(user):
    gate = user.folder / "gate"
    texts = [f"open {gate}"] * 4 + [f"gate {gate}"] * 8
    write_inputs(user.folder, **{f"s{n}": text for n, text in enumerate(texts)})
    command = chain(user)
    path = pipeline_dir(user, user.ok(*command))
    wait_until(lambda: done_by_step(user)["first"])
    assert states(user) == ["running", "waiting", "waiting"]
    stdout = user.ok("cancel", str(path))
    assert "cancelled  4 jobs of steps that wait for others" in stdout
    for job in jobs(path):
        assert set(user.cluster.wait_for(job.ids).values()) == {"CANCELLED"}
    wait_until(lambda: is_over(user))
    assert states(user)[1:] == ["not planned", "not planned"]
    assert "was cancelled" in user.ok("status", str(path))
    num_done = done_by_step(user)["first"].total()
    gate.touch()
    stdout = user.ok(*command, "launcher.array_size=6", "wait=true")
    assert f"12 in the plan, {num_done} done" in stdout
    done = done_by_step(user)
    assert done == {name: Counter(f"s{n}" for n in range(12)) for name in done}


def test_when_workers_are_lost_for_good_the_plan_job_says_so_and_the_pipeline_can_go_on(user):
    write_inputs(user.folder, a="one", b="kill 2")
    command = chain(user, "launcher.array_size=1")
    done = user.hpcpipe(*command, "wait=true")
    assert done.returncode == 4
    wait_until(lambda: is_over(user))
    assert states(user) == ["incomplete", "not planned", "not planned"]
    reason = status(user)["steps"][1]["reason"]
    assert "of 2 shards are pending and its workers have ended" in reason
    assert "then launch the pipeline again" in reason
    assert user.hpcpipe(*command, "wait=true").returncode == 0
    assert done_by_step(user)["third"] == Counter("ab")


def test_launching_again_leaves_waiting_steps_alone_unless_workers_were_added(user):
    write_inputs(user.folder, **{f"s{n}": "wait" for n in range(4)})
    command = chain(user, "launcher.array_size=1")
    path = pipeline_dir(user, user.ok(*command))
    before = jobs(path)
    again = user.ok(*command)
    assert again.count("left alone") == 2
    assert jobs(path) == before
    more = user.ok(*command, "first.launcher.array_size=2")
    *_, second, third = jobs(path)
    assert set(second.after) == {*before[0].after, field(more, "array")}
    assert set(third.after) == {second.plan_job, second.array_job}
    assert more.count("which did not wait for all jobs above") == 2
    user.ok("cancel", str(path))
    for job in jobs(path):
        assert set(user.cluster.wait_for(job.ids).values()) == {"CANCELLED"}


def test_steps_that_could_never_run_are_all_named_before_anything_is_submitted(user):
    write_inputs(user.folder, a="one")
    wrong = ["+second.launcher.slurm.partition=nope", "third.resources.gpus=9"]
    done = user.hpcpipe(*chain(user, *wrong))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "step second: SLURM takes no such workers" in done.stderr
    assert "invalid partition specified: nope" in done.stderr
    assert "step third: SLURM takes no such workers" in done.stderr
    assert "see third.site.* and third.resources.*" in done.stderr
    assert not (user.folder / "runs").exists()
    folders = user.cluster.squeue("--states=all", "--format=%Z")
    assert str(user.folder) not in folders.splitlines()


@pytest.fixture
def hurried(user):
    """A user who may have two jobs more queued or running."""
    change = ("sacctmgr", "-i", "modify", "user", user_name(), "set")
    user.cluster.run(*change, f"MaxSubmitJobs={num_submitted(user.cluster) + 2}")
    yield user
    user.cluster.run(*change, "MaxSubmitJobs=-1")


def test_what_sbatch_refuses_halfway_leaves_the_steps_above_and_nothing_half(hurried):
    user = hurried
    write_inputs(user.folder, a="wait")
    done = user.hpcpipe(*chain(user))
    assert done.returncode == 2
    assert "error: step second: " in done.stderr
    assert "AssocMaxSubmitJobLimit" in done.stderr
    assert "not begun  it reads the output of second" in done.stdout
    for job in jobs(pipeline_dir(user, done.stdout)):
        assert job.array_job == ""
        assert set(user.cluster.wait_for(job.plan_job).values()) == {"CANCELLED"}
    num_before = len(jobs(pipeline_dir(user, done.stdout)))
    user.cluster.run("sacctmgr", "-i", "modify", "user", user_name(), "set", "MaxSubmitJobs=-1")
    path = pipeline_dir(user, user.ok(*chain(user)))
    assert all(job.array_job for job in jobs(path)[num_before:])
    assert states(user)[1:] == ["waiting", "waiting"]
    user.ok("cancel", str(path))
