"""Two launches of one thing on SLURM at once: the second one submits nothing."""

import os
import subprocess
import sys

import msgspec
import pytest

from hpcpipe.errors import LaunchError
from hpcpipe.launch import pipeline, slurm, start, step_jobs
from hpcpipe.launch.lock import FILE, launching
from hpcpipe.manifest.identity import Identity, own_identity
from tests.launch.test_pipeline import make_pipeline
from tests.toys.runs import toy_config, write_inputs

JUST_NOW = r"is launching it just now: wait .* If it is not so, remove .*/" + FILE


@pytest.fixture
def submitted(monkeypatch):
    """What sbatch was asked for, by jobs' names; the first time somebody else launches, too."""
    asked, others = [], []

    def submit(tasks, folder, parameters, python):
        if not asked and others:
            with pytest.raises(LaunchError, match=JUST_NOW):
                others.pop()()
        asked.append(parameters["job_name"].rpartition("-")[0])
        return str(len(asked))

    monkeypatch.setattr(slurm, "check_available", lambda: 1000)
    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm.squeue, "live_tasks", lambda arrays: dict.fromkeys(arrays, 2))
    assert step_jobs.slurm is slurm
    return asked, others


def test_of_two_launches_of_a_pipeline_one_submits(submitted, tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config, directory = make_pipeline(tmp_path)
    asked, others = submitted
    others.append(lambda: pipeline.start(config, "submit"))
    assert pipeline.start(config, "submit").codes == {"first": 0, "second": 0}
    assert asked == ["hpcpipe-toy", "hpcpipe-plan-toy", "hpcpipe-toy"]
    assert not (directory.path / FILE).exists()
    assert pipeline.start(config, "submit").codes == {"first": 0, "second": 0}
    assert len(asked) == 3


def test_of_two_launches_of_a_run_one_submits(submitted, tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path)
    asked, others = submitted
    others.append(lambda: start.start(config, "submit"))
    run_dir = start.start(config, "submit").run_dir
    assert asked == ["hpcpipe-toy"]
    assert [path.name for path in (run_dir / "launches").glob("*.json")] == ["1.json"]
    assert not (run_dir / FILE).exists()


def write_lock(folder, **values) -> None:
    owner = msgspec.structs.replace(own_identity("launch", "alice", 0), **values)
    (folder / FILE).write_bytes(msgspec.json.encode(owner))


def test_a_launch_that_was_killed_keeps_nobody_out(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_lock(tmp_path, pid=ended.pid)
    with launching(tmp_path):
        held = msgspec.json.decode((tmp_path / FILE).read_bytes(), type=Identity)
        assert held.pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_of_another_machine_nobody_knows(tmp_path):
    write_lock(tmp_path, machine="another", host="login2", pid=77)
    with pytest.raises(LaunchError, match=r"^alice on login2 \(process 77\) " + JUST_NOW):
        launching(tmp_path).__enter__()
    assert (tmp_path / FILE).exists()
