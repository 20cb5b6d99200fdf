"""Whole runs on a real SLURM, by the commands a user types."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.data.make_shards import make_edits, make_shards, read_shard
from tests.slurm.user import ROOT, SMALL, TOYS, User, alive, field, run_dir
from tests.toys.runs import events_of, parts_left, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm


@pytest.fixture(params=["accounting", "no accounting"])
def user(request, tmp_path):
    name = "slurm" if request.param == "accounting" else "slurm_no_accounting"
    return User(request.getfixturevalue(name), tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """200 shards with edits, and what they must become, from a run without SLURM."""
    folder = tmp_path_factory.mktemp("data")
    make_shards(folder / "shards", num_shards=200, num_samples=4)
    make_edits(folder / "shards", folder / "edits")
    env = {**os.environ, "HPCPIPE_RUNS": str(folder / "runs")}
    command = ["stage=reshard", f"stage.input={folder}/shards/*.tar"]
    command += [f"stage.edits={folder}/edits", f"stage.output={folder}/calm"]
    subprocess.run([sys.executable, "-m", "hpcpipe", *command], env=env, check=True, cwd=folder)
    return folder


def reference(data: Path, name: str) -> dict[str, dict[str, bytes]]:
    """The overlay of one shard by plain means."""
    samples = {key: dict(sample) for key, sample in read_shard(data / "shards" / name).items()}
    for path in sorted((data / "edits" / name.removesuffix(".tar")).iterdir()):
        key, _, extension = path.name.partition(".")
        samples[key][extension] = path.read_bytes()
    return samples


def test_half_the_workers_killed_in_the_middle(user, data):
    command = [
        "stage=slow_reshard",
        f"stage.input={data}/shards/*.tar",
        f"stage.edits={data}/edits",
        f"stage.output={user.folder}/out",
        "launcher.array_size=8",
        *SMALL,
        "-m",
    ]
    first = user.ok(*command)
    path = run_dir(user, first)
    assert "200 in the plan" in first
    assert "8 workers" in first
    wait_until(lambda: len(events_of(path, "done")) >= 30 and len(alive(path)) == 8)
    workers = alive(path)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    during = json.loads(user.ok("status", str(path), "--json"))
    assert during["state"] == "running"
    assert 30 <= during["done"] < 200
    for pid in workers[:4]:
        os.kill(pid, signal.SIGKILL)
    for pid in workers[4:]:
        os.kill(pid, signal.SIGCONT)
    second = user.ok(*command, "wait=true")
    assert "resumed" in second
    assert "complete" in second
    assert len(events_of(path, "lost")) >= 1
    assert Counter(e.shard for e in events_of(path, "done")) == Counter(
        f"{n:05d}" for n in range(200)
    )
    after = json.loads(user.ok("status", str(path), "--json"))
    assert (after["state"], after["done"], after["pending"]) == ("complete", 200, 0)
    for name in (f"{n:05d}.tar" for n in range(200)):
        made = (user.folder / "out" / name).read_bytes()
        assert made == (data / "calm" / name).read_bytes()
    for name in ("00000.tar", "00123.tar"):
        assert read_shard(user.folder / "out" / name) == reference(data, name)
    assert parts_left(user.folder) == []
    assert user.ok("verify", str(path), "--deep")


def test_uninterrupted_run_gives_the_same_bytes_and_both_nodes_work(plain_user, data):
    stdout = plain_user.ok(
        "stage=slow_reshard",
        f"stage.input={data}/shards/*.tar",
        f"stage.edits={data}/edits",
        *SMALL, "launcher.array_size=12", "wait=true", "-m",
    )  # fmt: skip
    path = run_dir(plain_user, stdout)
    nodes = {e.host for e in events_of(path, "done")}
    assert nodes == set(plain_user.cluster.nodes)
    for name in (f"{n:05d}.tar" for n in range(200)):
        assert (path / "out" / name).read_bytes() == (data / "calm" / name).read_bytes()


def test_a_sweep_gives_each_combination_a_run_an_array_and_an_output(plain_user, data):
    stdout = plain_user.ok(
        "stage=reshard",
        f"stage.input={data}/shards/0000*.tar",
        f"stage.edits={data}/edits,null",
        f"stage.output={plain_user.folder}/out/${{run_name}}",
        *SMALL, "launcher.array_size=2", "wait=true", "-m",
    )  # fmt: skip
    assert stdout.count("array ") == 2
    assert stdout.count("complete") == 2
    first, second = sorted((plain_user.folder / "out").iterdir())
    assert len(list(first.glob("*.tar"))) == len(list(second.glob("*.tar"))) == 10
    assert (first / "00000.tar").read_bytes() != (second / "00000.tar").read_bytes()


def test_waiting_takes_the_runs_exit_code(plain_user):
    write_inputs(plain_user.folder, a="one", b="bad")
    done = plain_user.hpcpipe(
        "stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "wait=true", "-m"
    )
    assert done.returncode == 3
    assert "1 quarantined" in done.stdout
    status = plain_user.ok("status", str(run_dir(plain_user, done.stdout)))
    assert "bad at byte 7" in status


def test_launching_again_adds_only_the_workers_that_are_missing(plain_user):
    gate = plain_user.folder / "gate"
    write_inputs(plain_user.folder, **{f"s{n:02d}": f"gate {gate}" for n in range(12)})
    command = ["stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "-m"]
    first = plain_user.ok(*command, "launcher.array_size=2")
    path = run_dir(plain_user, first)
    wait_until(lambda: len(alive(path)) == 2)
    assert "2 are queued or running already" in plain_user.ok(*command, "launcher.array_size=2")
    more = plain_user.ok(*command, "launcher.array_size=3")
    assert "1 worker (beside 2 that are queued or running)" in more
    wait_until(lambda: len(alive(path)) == 3)
    gate.touch()
    wait_until(lambda: alive(path) == [])
    assert sorted(e.shard for e in events_of(path, "done")) == [f"s{n:02d}" for n in range(12)]
    assert len(list((path / "journal").iterdir())) == 3


def test_what_sbatch_refuses_is_told_in_its_words_and_leaves_nothing_queued(plain_user):
    write_inputs(plain_user.folder, a="one")
    command = ["stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "-m"]
    done = plain_user.hpcpipe(*command, "site.partition=nope")
    assert done.returncode == 2
    assert "invalid partition specified: nope" in done.stderr
    assert "Traceback" not in done.stderr
    assert plain_user.cluster.squeue("--name=nope").strip() == ""
    (path,) = (plain_user.folder / "runs" / "toy").iterdir()
    assert list((path / "launches").iterdir()) == []
    assert "complete" in plain_user.ok(*command, "wait=true")


def test_cancel_ends_the_workers_and_the_run_can_be_resumed(plain_user):
    gate = plain_user.folder / "gate"
    texts = [f"open {gate}"] * 20 + [f"gate {gate}"] * 20
    write_inputs(plain_user.folder, **{f"s{n:02d}": text for n, text in enumerate(texts)})
    command = ["stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "launcher.array_size=4"]
    stdout = plain_user.ok(*command, "-m")
    path = run_dir(plain_user, stdout)
    wait_until(lambda: events_of(path, "done"))
    plain_user.ok("cancel", str(path))
    states = plain_user.cluster.wait_for(field(stdout, "array"))
    assert set(states.values()) == {"CANCELLED"}
    assert 0 < len(events_of(path, "done")) <= 20
    gate.touch()
    assert "complete" in plain_user.ok(*command, "launcher.array_size=16", "wait=true", "-m")
    assert len(events_of(path, "done")) == 40


def test_draining_finishes_the_shards_at_hand(plain_user):
    gate = plain_user.folder / "gate"
    write_inputs(plain_user.folder, **{f"s{n:02d}": f"gate {gate}" for n in range(40)})
    command = ["stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "launcher.array_size=4"]
    stdout = plain_user.ok(*command, "-m")
    path = run_dir(plain_user, stdout)
    wait_until(lambda: len(list(path.glob("out/.*.part"))) == 4)
    plain_user.ok("cancel", str(path), "--drain")
    gate.touch()
    states = plain_user.cluster.wait_for(field(stdout, "array"))
    assert set(states.values()) == {"COMPLETED"}
    assert events_of(path, "lost", "closed", "failed") == []
    assert len(events_of(path, "done")) == 4


def test_the_script_launcher_writes_what_sbatch_takes(plain_user):
    write_inputs(plain_user.folder, a="one", b="two", c="three")
    stdout = plain_user.ok(
        "stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "launcher=script", "-m"
    )
    script = plain_user.folder / field(stdout, "script")
    assert "#SBATCH --array=0-2" in script.read_text()
    job = plain_user.cluster.sbatch(str(script))
    assert set(plain_user.cluster.wait_for(job).values()) == {"COMPLETED"}
    path = run_dir(plain_user, stdout)
    assert sorted(e.shard for e in events_of(path, "done")) == ["a", "b", "c"]
    assert "complete" in plain_user.ok("status", str(path))


def test_plain_sbatch_with_the_template(plain_user):
    write_inputs(plain_user.folder, a="one", b="two", c="three")
    stdout = plain_user.ok(
        "stage=toy", f"stage.input={plain_user.folder}/in", *SMALL, "launcher=script", "-m"
    )
    path = run_dir(plain_user, stdout)
    env_bin = Path(sys.executable).parent
    template = ROOT / "sbatch" / "worker.sbatch"
    job = plain_user.cluster.sbatch(
        f"--export=ALL,PATH={env_bin}:{os.environ['PATH']}",
        "--array=0-1", "--mem=500M", "--cpus-per-task=1",
        f"--output={plain_user.folder}/%A_%a.out", str(template), str(path),
    )  # fmt: skip
    assert set(plain_user.cluster.wait_for(job).values()) == {"COMPLETED"}
    assert sorted(e.shard for e in events_of(path, "done")) == ["a", "b", "c"]


def test_a_worker_that_cannot_set_up_fails_its_job_with_the_reason_in_status(plain_user):
    write_inputs(plain_user.folder, a="one", b="two")
    done = plain_user.hpcpipe(
        "stage=toy", f"stage.input={plain_user.folder}/in", *SMALL,
        "stage.broken_setup=true", "wait=true", "-m",
    )  # fmt: skip
    assert done.returncode == 4
    path = run_dir(plain_user, done.stdout)
    assert events_of(path, "done", "failed", "closed") == []
    assert "the model is missing" in plain_user.ok("status", str(path))


def test_submitting_from_inside_a_job_works(plain_user):
    write_inputs(plain_user.folder, a="one")
    command = [sys.executable, "-m", "hpcpipe", "stage=toy", f"stage.input={plain_user.folder}/in"]
    command += [*SMALL, "wait=true", "-m"]
    job = plain_user.cluster.sbatch(
        "--mem=500M", "--cpus-per-task=1", f"--output={plain_user.folder}/outer.out",
        f"--export=ALL,HPCPIPE_CONF={TOYS},HPCPIPE_RUNS={plain_user.folder}/runs",
        f"--chdir={plain_user.folder}", "--wrap", " ".join(f"'{arg}'" for arg in command),
    )  # fmt: skip
    states = plain_user.cluster.wait_for(job)
    text = (plain_user.folder / "outer.out").read_text()
    assert set(states.values()) == {"COMPLETED"}, text
    assert "complete: 1 done" in text


def test_without_sbatch_the_message_names_the_local_launcher(tmp_path):
    write_inputs(tmp_path, a="one")
    env = {**os.environ, "HPCPIPE_CONF": str(TOYS), "PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(
        [sys.executable, "-m", "hpcpipe", "stage=toy", f"stage.input={tmp_path}/in", "-m",
         f"paths.code={ROOT}"],
        cwd=tmp_path, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no sbatch on this machine" in done.stderr
    assert "launcher=local" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
