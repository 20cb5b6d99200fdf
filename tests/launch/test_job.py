import os
import subprocess
import sys
import time

import pytest

from hpcpipe.launch import job
from hpcpipe.launch.job import own_job
from hpcpipe.manifest.rundir import Launch
from tests.toys.runs import toy_config


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """SLURM's commands as scripts that note what they are asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(job, "_PAUSES_S", (0.0, 0.0, 0.0))
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)

    def install(name, script):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/asked\n{script}\n')
        (folder / name).chmod(0o755)

    return install


def asked(tmp_path):
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


def made(tmp_path, kind="slurm", **values):
    return own_job(toy_config(tmp_path, **values), Launch(number=1, kind=kind, num_workers=1))


def array_task(monkeypatch, **more):
    env = {"SLURM_JOB_ID": "41", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "7", **more}
    for name, value in env.items():
        monkeypatch.setenv(name, value)


def test_outside_of_slurm_and_for_local_workers_there_is_no_job(tmp_path, monkeypatch, tools):
    assert made(tmp_path) is None
    array_task(monkeypatch)
    assert made(tmp_path, "local") is None
    assert made(tmp_path, "here") is None


def test_a_task_asks_for_itself_and_never_for_the_array(tmp_path, monkeypatch, tools):
    tools("scontrol", "")
    array_task(monkeypatch)
    assert made(tmp_path).queue_again() == ""
    assert asked(tmp_path) == ["scontrol requeue 41_7"]


def test_what_was_asked_for_is_the_limit_and_slurm_is_not_asked(tmp_path, monkeypatch, tools):
    array_task(monkeypatch)
    tools("squeue", "echo 1:00")
    left_s = made(tmp_path, resources__time_min=600).left_s
    assert 0 < left_s <= 36000
    assert asked(tmp_path) == []


def test_what_slurm_put_into_the_environment_goes_before(tmp_path, monkeypatch, tools):
    # the controller's clock may be another than this machine's
    array_task(monkeypatch, SLURM_JOB_START_TIME="7000", SLURM_JOB_END_TIME="727000")
    left_s = made(tmp_path).left_s
    assert 240 * 60 < left_s <= 720000


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("9:58", 598),
        ("2:00:01", 7201),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("", None),
    ],
)
def test_else_squeue_is_asked_once(tmp_path, monkeypatch, tools, said, expected):
    tools("squeue", f"echo '{said}'")
    array_task(monkeypatch)
    assert made(tmp_path, "work").left_s == expected
    assert made(tmp_path, launcher__slurm={"timeout_min": 30}).left_s == expected
    more = {"additional_parameters": {"time": 30}}
    assert made(tmp_path, site__slurm=more).left_s == expected
    assert asked(tmp_path) == ["squeue --noheader --jobs=41_7 --format=%L"] * 3


def test_a_queue_that_is_not_there_or_hangs_is_no_limit(tmp_path, monkeypatch, tools):
    array_task(monkeypatch)
    monkeypatch.setattr(job, "_ASK_TIMEOUT_S", 0.2)
    tools("squeue", "exec sleep 60")
    assert made(tmp_path, "work").left_s is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert made(tmp_path, "work").left_s is None
    assert made(tmp_path, "work").queue_again() == "there is no scontrol on this node"


def test_workers_of_one_job_wait_for_the_warning_and_any_may_ask_for_all(
    tmp_path, monkeypatch, tools
):
    array_task(monkeypatch, SLURM_STEP_NUM_TASKS="4", SLURM_PROCID="2")
    one = made(tmp_path)
    assert one.left_s is None
    tools("scontrol", "")
    assert one.queue_again() == ""
    tools("scontrol", "echo 'Job is pending execution for job 41' >&2; exit 1")
    assert one.queue_again() == ""
    tools("scontrol", "echo 'Access/permission denied' >&2; exit 1")
    assert one.queue_again() == "Access/permission denied"


def test_workers_of_one_job_leave_each_other_time_before_the_limit(tmp_path, monkeypatch, tools):
    array_task(monkeypatch, SLURM_STEP_NUM_TASKS="4")
    monkeypatch.setattr(job, "_LAST_S", 99.6)
    monkeypatch.setenv("SLURM_JOB_START_TIME", "1000")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(1000 + int(job._age_s()) + 101))
    began = time.monotonic()
    tools("scontrol", "")
    assert made(tmp_path).queue_again() == ""
    assert time.monotonic() - began >= 0.3


def test_a_refusal_is_told_at_once_and_a_silent_controller_asked_three_times(
    tmp_path, monkeypatch, tools
):
    array_task(monkeypatch)
    tools("scontrol", "echo 'Requested operation is presently disabled' >&2; exit 1")
    assert made(tmp_path).queue_again() == "Requested operation is presently disabled"
    assert len(asked(tmp_path)) == 1
    said = "slurm_requeue error: Unable to contact slurm controller (connect failure)"
    tools("scontrol", f"echo '{said}' >&2; exit 1")
    assert made(tmp_path).queue_again() == said
    assert len(asked(tmp_path)) == 4


def test_a_scontrol_that_is_ended_with_its_job_has_asked(tmp_path, monkeypatch, tools):
    array_task(monkeypatch)
    tools("scontrol", "kill -TERM $$")
    assert made(tmp_path).queue_again() == ""
    assert len(asked(tmp_path)) == 1


def test_a_scontrol_that_hangs_is_given_up(tmp_path, monkeypatch, tools):
    array_task(monkeypatch)
    monkeypatch.setattr(job, "TIMEOUT_S", 0.2)
    tools("scontrol", "exec sleep 60")
    assert made(tmp_path).queue_again() == "scontrol timed out after 0.2 s"


def test_a_scontrol_that_may_not_be_run_is_a_refusal(tmp_path, monkeypatch, tools):
    array_task(monkeypatch)
    (tmp_path / "bin" / "scontrol").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert made(tmp_path).queue_again() == "[Errno 13] Permission denied: 'scontrol'"


def test_the_age_is_that_of_the_process():
    code = "import time; from hpcpipe.launch.job import _age_s; time.sleep(0.3); print(_age_s())"
    done = subprocess.run(
        ["bash", "-c", f'sleep 0.3; exec {sys.executable} -c "{code}"'],
        capture_output=True,
        text=True,
    )
    assert 0.5 < float(done.stdout) < 60, done.stderr


def test_where_a_script_goes_on_after_its_worker_the_age_is_the_scripts():
    code = (
        "import os; from hpcpipe.launch.job import _age_s; age_s = _age_s(); "
        "del os.environ['SLURM_TASK_PID']; print(age_s - _age_s())"
    )
    script = f'export SLURM_TASK_PID=$$; sleep 0.5; {sys.executable} -c "{code}"; true'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert float(done.stdout) > 0.4, done.stderr
