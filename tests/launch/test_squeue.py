"""What is made of the answers of SLURM's commands."""

import pytest

from hpcpipe.errors import LaunchError
from hpcpipe.launch.squeue import Task, cancel, live_tasks, queued_tasks
from hpcpipe.manifest.rundir import Launch

LAUNCH = Launch(number=1, kind="slurm", num_workers=2, array_job="12", user="me")


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A function that makes a stand-in for squeue from the lines of a shell script."""

    def install(*lines):
        path = tmp_path / "squeue"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


def test_tasks_are_told_with_their_reasons(squeue):
    squeue(
        "echo 12 3 PENDING N/A '(launch failed requeued held)'",
        "echo 12 N/A RUNNING 2026-01-01T00:00:00 None",
        "echo 13 0 RUNNING NONE None",
    )
    assert queued_tasks([LAUNCH], 10) == [
        Task("12", "12_3", "PENDING", "(launch failed requeued held)"),
        Task("12", "12_0", "RUNNING", "None"),
    ]


def test_a_task_that_ends_counts_only_where_it_is_queued_again(squeue):
    squeue(
        "echo 12 0 COMPLETING 2026-01-01T00:00:00 None",
        "echo 12 1 COMPLETING NONE None",
        "echo 12 2 COMPLETING $(date -d 'now 10 minutes' +%FT%T) None",
        "echo 12 3 COMPLETING $(date +%FT%T) None",
    )
    queued = queued_tasks([LAUNCH], 10)
    assert queued == [Task("12", f"12_{index}", "PENDING", "None") for index in (1, 2)]


def test_no_answer_is_not_an_empty_queue(squeue):
    squeue("exit 1")
    assert queued_tasks([LAUNCH], 10) is None
    assert queued_tasks([], 10) == []


def test_arrays_are_looked_up_whoever_submitted_them(squeue, tmp_path):
    squeue(f'echo "$@" > {tmp_path}/asked', "echo 12 3 RUNNING NONE None")
    assert live_tasks(["13", "12"]) == {"12": 1}
    assert [task.label for task in queued_tasks([LAUNCH], 10)] == ["12_3"]
    asked = (tmp_path / "asked").read_text()
    assert "--jobs=12 " in asked
    assert "-u" not in asked.split()


def test_an_array_that_slurm_has_forgotten_is_over(squeue):
    squeue("echo 'slurm_load_jobs error: Invalid job id specified' >&2", "exit 1")
    assert live_tasks(["12"]) == {}


def test_arrays_of_somebody_else_are_not_cancelled_in_silence(squeue, tmp_path):
    squeue("echo 12 3 RUNNING NONE None")
    scancel = tmp_path / "scancel"
    denied = "scancel: error: Kill job error on job id 12: Access/permission denied"
    scancel.write_text(f"#!/bin/sh\necho '{denied}' >&2\nexit 210\n")
    scancel.chmod(0o755)
    with pytest.raises(LaunchError, match="denied; only who submitted a job can cancel it"):
        cancel(["12"])
