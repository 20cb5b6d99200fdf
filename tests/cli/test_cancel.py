"""Stopping workers here, without SLURM, and by SLURM's commands."""

import time

import pytest

from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.session import Session
from tests.cli.runs import begun_run, good_run, shard_at_hand, verb, working
from tests.toys.runs import run_here, state_of, toy_config


@pytest.fixture
def slurm_commands(tmp_path, monkeypatch):
    """squeue and scancel that know of array 77; returns the file of what scancel was told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    told = tmp_path / "told"
    tasks = ("77 0 PENDING N/A Priority", "77 1 RUNNING N/A None", "5 0 RUNNING N/A None")
    (tools / "squeue").write_text("\n".join(["#!/bin/sh", *(f"echo {task}" for task in tasks)]))
    (tools / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return told


def add_array(run_dir, job):
    run = RunDir(run_dir)
    return run.add_launch(Launch(number=0, kind="slurm", num_workers=2, array_job=job, user="me"))


def test_nothing_to_cancel(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("cancel", run_dir) == 0
    assert "nothing of this run is queued or running" in capsys.readouterr().out
    assert not (run_dir / "STOP").exists()
    assert verb("cancel", run_dir, "--drain") == 0
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    assert "STOP" not in capsys.readouterr().out


def test_a_worker_on_this_machine_is_stopped(tmp_path, capsys):
    run_dir = begun_run(tmp_path, a="one", b="slow 60", c="slow 60")
    with working(run_dir) as worker:
        shard_at_hand(run_dir)
        capsys.readouterr()
        assert verb("cancel", run_dir) == 0
        assert "stopping   1 worker on this machine" in capsys.readouterr().out
        worker.communicate(timeout=20)
    assert worker.returncode == 130
    assert state_of(run_dir, toy_config(tmp_path)).counts()["pending"] == 2
    assert not (run_dir / "STOP").exists()


def test_draining_lets_the_shard_at_hand_be_finished(tmp_path, capsys):
    gate = tmp_path / "gate"
    run_dir = begun_run(tmp_path, a="one", b=f"gate {gate}", c=f"gate {gate}")
    with working(run_dir) as worker:
        shard = shard_at_hand(run_dir)
        assert verb("cancel", run_dir, "--drain") == 0
        gate.touch()
        assert "stopping   1 worker after the shards at hand" in capsys.readouterr().out
        worker.communicate(timeout=20)
    assert worker.returncode == 4
    assert state_of(run_dir, toy_config(tmp_path)).is_done(shard)
    assert state_of(run_dir, toy_config(tmp_path)).counts()["pending"] == 1
    assert run_here(toy_config(tmp_path)).exit_code == 0  # a launch takes the STOP file away


def test_arrays_are_cancelled_in_one_call(tmp_path, capsys, slurm_commands):
    run_dir = good_run(tmp_path)
    add_array(run_dir, "77")
    add_array(run_dir, "78")
    capsys.readouterr()
    assert verb("cancel", run_dir) == 0
    assert "cancelled  2 tasks of the run's arrays" in capsys.readouterr().out
    assert slurm_commands.read_text() == "77\n"
    assert not (run_dir / "STOP").exists()


def test_status_counts_what_is_queued(tmp_path, capsys, slurm_commands):
    run_dir = begun_run(tmp_path, a="one", b="two")
    add_array(run_dir, "77")
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    assert "state      queued" in shown
    assert "1 pending in the queue (Priority), 1 running in the queue" in shown
    assert f"python -m hpcpipe cancel {run_dir}" in shown


def test_clean_refuses_while_tasks_are_queued(tmp_path, capsys, slurm_commands):
    run_dir = good_run(tmp_path)
    add_array(run_dir, "77")
    assert verb("clean", run_dir) == 2
    assert "2 tasks of the run still in the queue" in capsys.readouterr().err


def test_a_queue_that_does_not_answer_hides_nothing(tmp_path, capsys, slurm_commands):
    run_dir = begun_run(tmp_path, a="one", b="two")
    add_array(run_dir, "77")
    squeue = tmp_path / "bin" / "squeue"
    squeue.write_text("#!/bin/sh\necho unreachable >&2\nexit 1\n")
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    assert "state      incomplete" in capsys.readouterr().out
    assert verb("cancel", run_dir) == 4
    assert "SLURM did not cancel: squeue" in capsys.readouterr().out
    assert (run_dir / "STOP").exists()
    assert verb("clean", run_dir) == 2
    assert "is not known" in capsys.readouterr().err


def test_where_there_is_no_slurm_the_stop_file_tells(tmp_path, capsys, monkeypatch):
    run_dir = good_run(tmp_path)
    add_array(run_dir, "77")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verb("cancel", run_dir) == 4
    shown = capsys.readouterr().out
    assert "there is no scancel on this machine" in shown
    assert f"{run_dir}/STOP (there until the next launch)" in shown
    assert (run_dir / "STOP").exists()


def test_a_worker_on_another_machine_gets_the_stop_file(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    session = Session(RunDir(run_dir), "work-2-0", 2, tmp_path, heartbeat_s=60)
    try:
        elsewhere = session.identity_path.read_bytes().replace(b'"machine":"', b'"machine":"other')
        session.identity_path.write_bytes(elsewhere)
        session.heartbeat.update(at=time.time())
        session.heartbeat._write()
        assert verb("cancel", run_dir) == 4
    finally:
        session.close("")
    assert "by a STOP file" in capsys.readouterr().out
    assert (run_dir / "STOP").exists()
