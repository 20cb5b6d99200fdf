"""The verbs on a real SLURM: workers submitted by hand, watched, requeued and cancelled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.manifest.rundir import RunDir
from tests.slurm.user import ROOT, SMALL, User, alive, field
from tests.toys.runs import events_of, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

WORKER = ROOT / "sbatch" / "worker.sbatch"


@pytest.fixture
def user(slurm, tmp_path):
    """A user whose PATH has this Python first, as their environment file would see to."""
    user = User(slurm, tmp_path)
    user.env["PATH"] = f"{Path(sys.executable).parent}:{user.env.get('PATH', os.defpath)}"
    user.env["HPCPIPE_ENV"] = str(ROOT / "sbatch" / "env.sh")
    return user


def begun(user, *options, **texts):
    """Begin a run with its first shard; returns its folder."""
    write_inputs(user.folder, **texts)
    stdout = user.ok("stage=toy", f"stage.input={user.folder}/in", "limit=1", *SMALL, *options)
    return user.folder / field(stdout, "run")


def sbatch(user, *args):
    """Submit from the user's folder; returns the job id."""
    small = ("--mem=500M", "--cpus-per-task=1", "--time=10")
    command = ["sbatch", "--parsable", f"--chdir={user.folder}", *small, *map(str, args)]
    done = subprocess.run(
        command, env=user.env, cwd=user.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().partition(";")[0]


def summary(user, path):
    return json.loads(user.ok("status", str(path), "--json"))


def test_an_array_submitted_by_hand(user):
    path = begun(user, **{f"s{n:02}": "slow 0.5" for n in range(13)})
    job = sbatch(user, "--array=3-6", WORKER, path)
    user.cluster.wait_for([job])
    assert summary(user, path)["state"] == "complete"
    workers = {file.stem for file in (path / "logs").glob(f"{job}_*.log")}
    assert workers == {f"{job}_{index}" for index in range(3, 7)}
    assert {launch.array_job for launch in RunDir(path).read_launches()} == {"", job}
    assert len({event.shard for event in events_of(path, "done")}) == 13


def test_a_warned_worker_is_queued_again_and_goes_on(user):
    path = begun(user, a="x", b="wait")
    job = sbatch(user, "--array=0", WORKER, path)
    wait_until(lambda: any(b'"shard":"b"' in p.read_bytes() for p in path.glob("workers/*.beat")))
    user.cluster.scancel("--signal=USR2", "--batch", f"{job}_0")
    wait_until(lambda: list((path / "logs").glob(f"{job}_0r1.log")))
    assert "stopped: SIGUSR2" in (user.folder / f"hpcpipe-{job}_0.out").read_text()
    assert len(events_of(path, "closed")) == 1
    user.ok("cancel", str(path))
    assert set(user.cluster.wait_for([job]).values()) == {"CANCELLED"}


def test_a_task_that_is_queued_again_counts_while_its_last_run_ends(user):
    path = begun(user, a="x", b="wait")
    job = sbatch(user, "--array=0", WORKER, path)
    wait_until(lambda: any(b'"shard":"b"' in p.read_bytes() for p in path.glob("workers/*.beat")))
    user.cluster.scontrol("requeue", f"{job}_0")
    seen = user.cluster.squeue(f"--jobs={job}", "--format=%T").split()
    assert seen[-1] in ("COMPLETING", "PENDING")
    assert summary(user, path)["queue"] == {"PENDING": 1}
    user.ok("cancel", str(path))
    assert set(user.cluster.wait_for([job]).values()) == {"CANCELLED"}


def test_workers_that_died_before_they_began_are_told_with_their_last_words(user):
    write_inputs(user.folder, a="one", b="two")
    done = user.hpcpipe(
        "stage=toy", f"stage.input={user.folder}/in", *SMALL, "wait=true", "-m",
        "site.setup=['echo nothing to load here >&2','exit 1']",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    path, array = user.folder / field(done.stdout, "run"), field(done.stdout, "array")
    shown = user.ok("status", str(path))
    logs = user.ok("logs", str(path))
    for told in (done.stdout, shown, logs):
        assert f"2 workers of array {array} ended without starting" in told
        assert "nothing to load here" in told
        assert f"submitit/1/{array}_" in told
    assert "workers    2 ended without starting" in shown
    assert "state      incomplete" in shown
    assert "waiting in the queue" not in logs
    assert summary(user, path)["not_started"][0]["num_ended"] == 2


def test_the_same_for_a_file_submitted_by_hand(user):
    write_inputs(user.folder, a="one", b="two")
    options = [f"stage.input={user.folder}/in", *SMALL, "launcher=script", "-m"]
    stdout = user.ok("stage=toy", *options, "site.setup=[module load nothing, exit 1]")
    path = user.folder / field(stdout, "run")
    job = sbatch(user, user.folder / field(stdout, "script"))
    user.cluster.wait_for([job])
    assert f"2 workers of array {job} ended without starting" in user.ok("status", str(path))


def test_why_tasks_wait_is_told(user):
    write_inputs(user.folder, a="one", b="two")
    options = [
        f"stage.input={user.folder}/in",
        *SMALL,
        "-m",
        "+launcher.slurm.additional_parameters={begin:'now+1hour'}",
    ]
    path = user.folder / field(user.ok("stage=toy", *options), "run")
    wait_until(lambda: summary(user, path)["pending_reasons"] == {"BeginTime": 2})
    shown = user.ok("status", str(path))
    assert "state      queued" in shown
    assert "workers    2 pending in the queue (BeginTime)" in shown
    user.ok("cancel", str(path))
    assert summary(user, path)["queue"] == {}


def test_the_template_works_where_there_is_no_environment_file(user):
    path = begun(user, a="x", b="y")
    del user.env["HPCPIPE_ENV"]
    job = sbatch(user, "--array=0", WORKER, path)
    user.cluster.wait_for([job])
    assert summary(user, path)["state"] == "complete"
    assert "No such file" not in (user.folder / f"hpcpipe-{job}_0.out").read_text()
    user.env["HPCPIPE_ENV"] = "nowhere.sh"
    job = sbatch(user, "--array=0", WORKER, path)
    assert set(user.cluster.wait_for([job]).values()) == {"FAILED"}
    assert "no file nowhere.sh" in (user.folder / f"hpcpipe-{job}_0.out").read_text()


def test_cancel_ends_running_and_queued_tasks(user):
    path = begun(user, a="x", b="wait", c="wait", d="wait")
    job = sbatch(user, "--array=0-2%2", WORKER, path)
    wait_until(lambda: len(alive(path)) == 2)
    wait_until(lambda: summary(user, path)["queue"].get("RUNNING") == 2)
    shown = user.ok("status", str(path))
    assert "1 pending in the queue" in shown
    assert "2 running in the queue" in shown
    assert "cancelled  3 tasks" in user.ok("cancel", str(path))
    # they wait for SLURM to end them, and count no more
    assert set(user.cluster.squeue(f"--jobs={job}", "--format=%T").split()[1:]) == {"COMPLETING"}
    assert summary(user, path)["queue"] == {}
    states = user.cluster.wait_for([job])
    assert set(states.values()) == {"CANCELLED"}
    after = summary(user, path)
    assert (after["state"], after["queue"], after["pending"]) == ("incomplete", {}, 3)
