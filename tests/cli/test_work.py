"""Being one worker: alone, as an array task, and told to stop."""

import signal
import time

import pytest

from hpcpipe.manifest.rundir import Launch, RunDir
from tests.cli.runs import begun_run, good_run, shard_at_hand, verb, working
from tests.toys.runs import events_of, state_of, toy_config


def test_it_finishes_a_run(tmp_path, capsys):
    run_dir = begun_run(tmp_path, a="one", b="two", c="three")
    capsys.readouterr()
    assert verb("work", run_dir, "--limit", "2") == 0
    assert "1 shards done, 0 failures" in capsys.readouterr().out
    assert verb("work", run_dir) == 0
    assert state_of(run_dir, toy_config(tmp_path)).counts()["done"] == 3
    kinds = [(launch.kind, launch.limit) for launch in RunDir(run_dir).read_launches()]
    assert kinds == [("here", 1), ("work", 2), ("work", None)]
    assert (run_dir / "logs" / "work-3-0.log").exists()


def test_the_exit_code_is_the_workers_not_the_shards(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="bad")
    assert verb("work", run_dir) == 0
    assert verb("verify", run_dir) == 3


def test_a_launch_that_is_not_there(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("work", run_dir, "--launch", "7") == 2
    assert "the run has no launch 7; it has: 1" in capsys.readouterr().err


def test_a_stop_file_is_named(tmp_path, capsys):
    run_dir = begun_run(tmp_path, a="one", b="two")
    assert verb("cancel", run_dir, "--drain") == 0
    capsys.readouterr()
    assert verb("work", run_dir) == 4
    shown = capsys.readouterr().out
    assert "left       1 shard" in shown
    assert f"{run_dir}/STOP: remove it" in shown


def test_tasks_of_an_array_share_a_launch(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="meet 2", c="meet 2", d="x")
    job = {"ENVIRONMENT": "BATCH", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_COUNT": "2"}
    job |= {"SLURM_ARRAY_TASK_MIN": "5", "SLURM_JOB_ID": "41"}
    with working(run_dir, **job, SLURM_ARRAY_TASK_ID="5") as first:
        shard_at_hand(run_dir)
        with working(run_dir, **job, SLURM_ARRAY_TASK_ID="6") as second:
            assert (first.wait(30), second.wait(30)) == (0, 0)
    launch = RunDir(run_dir).read_launches()[1:]
    assert [(x.kind, x.array_job, x.num_workers) for x in launch] == [("work", "41", 2)]
    logs = {path.stem for path in (run_dir / "logs").glob("41_*.log")}
    assert logs == {"41_5", "41_6"}


@pytest.mark.parametrize(("known", "expected"), [("", ["43"]), ("40", ["40", "43"])])
def test_a_scripts_launch_learns_its_array(tmp_path, monkeypatch, known, expected):
    run_dir = begun_run(tmp_path, a="one", b="two")
    run = RunDir(run_dir)
    record = run.add_launch(Launch(number=0, kind="script", num_workers=4, array_job=known))
    text = (run.launches / "1.yaml").read_bytes()
    (run.launches / f"{record.number}.yaml").write_bytes(text)
    for name, value in (("ENVIRONMENT", "BATCH"), ("SLURM_JOB_ID", "43")):
        monkeypatch.setenv(name, value)
    assert verb("work", run_dir, "--launch", record.number) == 0
    assert [launch.array_job for launch in run.read_launches()[1:]] == expected


def test_an_interactive_allocation_is_not_recorded(tmp_path, monkeypatch):
    run_dir = begun_run(tmp_path, a="one", b="two")
    monkeypatch.setenv("SLURM_JOB_ID", "44")
    assert verb("work", run_dir) == 0
    assert RunDir(run_dir).read_launches()[-1].array_job == ""


def test_ctrl_c_gives_the_shard_back_at_once(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="slow 60", c="slow 60")
    with working(run_dir) as worker:
        shard_at_hand(run_dir)
        worker.send_signal(signal.SIGINT)
        output, _ = worker.communicate(timeout=20)
    assert worker.returncode == 130, output
    assert state_of(run_dir, toy_config(tmp_path)).counts()["pending"] == 2


def test_a_batch_job_waits_for_its_end_after_term(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="wait", c="wait")
    with working(run_dir, ENVIRONMENT="BATCH", SLURM_JOB_ID="46") as worker:
        shard_at_hand(run_dir)
        worker.send_signal(signal.SIGTERM)
        until = time.monotonic() + 30
        (beat,) = (run_dir / "workers").glob("46_0*.beat")
        while b'"state":"ended"' not in beat.read_bytes():
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.3)
        assert worker.poll() is None
    assert state_of(run_dir, toy_config(tmp_path)).counts()["pending"] == 2


@pytest.mark.parametrize("value", ["", "x"])
def test_what_slurm_does_not_say_in_numbers_is_passed_over(tmp_path, monkeypatch, value):
    run_dir = begun_run(tmp_path, a="one", b="two")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    names = ("ARRAY_TASK_ID", "ARRAY_TASK_COUNT", "STEP_NUM_TASKS", "PROCID", "RESTART_COUNT")
    for name in (*names, "CPUS_ON_NODE", "GPUS_ON_NODE"):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert verb("work", run_dir) == 0
    assert len(events_of(run_dir, "done")) == 2
