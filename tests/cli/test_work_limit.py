"""A worker in a batch job whose time is nearly over, with SLURM's commands played by scripts."""

import os
import signal

import pytest

from hpcpipe.manifest.heartbeat import read_beat
from tests.cli.runs import begun_run, shard_at_hand, working
from tests.toys.runs import events_of


@pytest.fixture
def job(tmp_path):
    """Environment of a job; ``scontrol`` notes what it is asked, ``squeue`` says the time left."""

    def make(left, scontrol=""):
        tools = tmp_path / "bin"
        tools.mkdir()
        for name, script in (
            ("squeue", f"echo {left}"),
            ("scontrol", f'echo "$@" >> {tmp_path}/asked\n{scontrol}'),
        ):
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        path = f"{tools}:{os.environ['PATH']}"
        task = {"SLURM_ARRAY_JOB_ID": "45", "SLURM_ARRAY_TASK_ID": "3"}
        return {"ENVIRONMENT": "BATCH", "SLURM_JOB_ID": "45", "PATH": path, **task}

    return make


def asked(tmp_path):
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


def notes(run_dir):
    return [read_beat(path).note for path in run_dir.glob("workers/45_3*.beat")]


def warned(run_dir, env):
    with working(run_dir, **env) as worker:
        shard_at_hand(run_dir)
        worker.send_signal(signal.SIGUSR2)
        output, _ = worker.communicate(timeout=60)
    return worker.returncode, output


def test_warned_of_the_limit_it_is_queued_again(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="wait", c="wait")
    code, output = warned(run_dir, job("3:00:00"))
    assert code == 4, output
    assert "stopped: SIGUSR2; queued again" in output
    assert asked(tmp_path) == ["requeue 45_3"]
    assert events_of(run_dir, "failed") == []


def test_a_refusal_is_in_its_note(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="wait")
    env = job("3:00:00", "echo Requested operation is presently disabled >&2; exit 1")
    code, output = warned(run_dir, env)
    assert code == 4, output
    refusal = "it was not queued again (Requested operation is presently disabled)"
    assert notes(run_dir) == [f"SIGUSR2; {refusal}: launch again to go on"]
    assert refusal in next(run_dir.glob("logs/45_3.log")).read_text()


def test_it_stops_claiming_when_the_next_shard_may_not_end_in_time(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="slow 2", c="slow 2", d="slow 2")
    with working(run_dir, **job("0:04")) as worker:
        output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 4, output
    assert len(events_of(run_dir, "done")) == 2
    assert asked(tmp_path) == ["requeue 45_3"]
    (note,) = notes(run_dir)
    assert note.endswith("s of the job are left, and a shard took up to 2 s; queued again")


def test_at_the_end_of_all_work_the_time_left_does_not_matter(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="slow 2")
    with working(run_dir, **job("0:02")) as worker:
        output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert notes(run_dir) == [""]
    assert asked(tmp_path) == []


def test_a_shard_that_had_the_job_to_itself_and_saved_nothing_is_charged(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="wait")
    code, output = warned(run_dir, job("3:00"))
    assert code == 4, output
    (failed,) = events_of(run_dir, "failed")
    assert (failed.shard, failed.error_class) == ("b", "TimeLimitError")
    assert "raise resources.time_min" in failed.error
    assert len(events_of(run_dir, "closed")) == 1
    assert asked(tmp_path) == ["requeue 45_3"]


def test_one_that_saved_its_progress_is_not(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="steps 30 0.02 9")
    with working(run_dir, **job("3:00")) as worker:
        while not list(run_dir.glob("partial/*/1.1/steps")):
            assert worker.poll() is None
        worker.send_signal(signal.SIGUSR2)
        worker.wait(60)
    assert events_of(run_dir, "failed") == []
    assert len(events_of(run_dir, "closed")) == 1
    assert asked(tmp_path) == ["requeue 45_3"]


def test_nor_is_one_that_was_not_the_first_in_its_job(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="slow 0.1", c="wait")
    with working(run_dir, **job("3:00")) as worker:
        while shard_at_hand(run_dir) != "c":
            assert worker.poll() is None
        worker.send_signal(signal.SIGUSR2)
        worker.wait(60)
    assert events_of(run_dir, "failed") == []
    assert asked(tmp_path) == ["requeue 45_3"]


def test_what_does_not_stop_is_given_back_before_the_job_is_ended(tmp_path, job):
    run_dir = begun_run(tmp_path, a="one", b="hang")
    code, output = warned(run_dir, job("0:10"))
    assert code == 4, output
    assert [event.error_class for event in events_of(run_dir, "failed")] == ["TimeLimitError"]
    assert len(events_of(run_dir, "closed")) == 1
    assert asked(tmp_path) == ["requeue 45_3"]
    assert notes(run_dir) == ["SIGUSR2; queued again"]
    assert "it has not stopped and the job is over" in (run_dir / "logs/45_3.log").read_text()
