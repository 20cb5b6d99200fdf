"""What SLURM is asked before a pipeline is submitted, and which of its answers are a refusal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpcpipe.config.pipeline import StepConfig
from hpcpipe.errors import LaunchError
from hpcpipe.launch import trial
from tests.slurm.cluster import Cluster
from tests.slurm.config import user_name
from tests.toys.runs import run_here, toy_config, write_inputs

pytestmark = pytest.mark.slurm

TOO_LARGE = "allocation failure: Requested node configuration is not available"


@pytest.fixture
def cluster(slurm, monkeypatch):
    """The cluster that this process asks."""
    monkeypatch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
    return slurm


@contextmanager
def changed(cluster: Cluster, what: str, change: str, back: str) -> Iterator[None]:
    """Something of the cluster is otherwise while inside."""
    cluster.scontrol("update", what, *change.split())
    try:
        yield
    finally:
        cluster.scontrol("update", what, back)


def refusal(folder: Path, *needs: str, **values: object) -> str:
    """What is said of one step; empty where it may be submitted."""
    small = {"resources__cpus": 1, "resources__mem_gb": 0.5}
    config = toy_config(folder, **{**small, **values})
    try:
        trial.check_steps([StepConfig(name="draw", config=config, needs=needs)])
    except LaunchError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"site__partition": "nope"}, "invalid partition specified: nope"),
        ({"site__account": "nope"}, "Invalid account or account/partition combination"),
        ({"resources__gpus": 5}, f"{TOO_LARGE}\n  asked: cpus_per_task=1, gpus_per_node=5, mem="),
        ({"resources__gpus": 1, "site__partition": "low"}, TOO_LARGE),
        ({"resources__mem_gb": 100}, TOO_LARGE),
        ({"resources__cpus": 9}, TOO_LARGE),
        ({"site__slurm": {"constraint": "h100"}}, "Invalid feature specification"),
        ({"site__slurm": {"partion": "cpu"}}, "draw.launcher.slurm.partion"),
    ],
)
def test_what_can_never_run_is_refused_with_the_options_to_change(cluster, tmp_path, values, said):
    text = refusal(tmp_path, **values)
    assert text.startswith("step draw: SLURM takes no such workers, so nothing was submitted:\n")
    assert said in text
    assert "draw.resources.*" in text or "draw.launcher.slurm" in text


def test_a_time_that_the_partition_never_grants_is_told(cluster, tmp_path, capsys):
    told = "step draw: a time limit of 1591 minutes is more than partition low allows (1590), so"
    with changed(cluster, "partition=low", "MaxTime=1-02:30:00", "MaxTime=INFINITE"):
        assert not refusal(tmp_path, site__partition="low", resources__time_min=1590)
        assert capsys.readouterr().err == ""
        assert not refusal(tmp_path, site__partition="low", resources__time_min=1591)
        assert told in capsys.readouterr().err
    assert not refusal(tmp_path, site__partition="low", resources__time_min=1591)
    assert capsys.readouterr().err == ""


def test_what_has_to_wait_is_not_refused(cluster, tmp_path):
    job = cluster.sbatch(
        "--output=/dev/null", "--partition=low", "--cpus-per-task=8", "--wrap=sleep 600"
    )
    assert not refusal(tmp_path, site__partition="low", resources__cpus=8)
    cluster.scancel(job)
    with changed(cluster, "partition=low", "State=DOWN", "State=UP"):
        assert not refusal(tmp_path, site__partition="low")
    with changed(cluster, "nodename=p1", "State=DRAIN Reason=test", "State=RESUME"):
        assert not refusal(tmp_path, site__partition="low", resources__cpus=8)
        assert TOO_LARGE in refusal(tmp_path, site__partition="low", resources__cpus=9)
        assert TOO_LARGE in refusal(tmp_path, site__partition="low", resources__gpus=1)


def test_a_reservation_that_is_yet_to_begin_is_waited_for(cluster, tmp_path):
    cluster.scontrol(
        "create", "reservation", "ReservationName=tomorrow", "StartTime=now+20hours",
        "Duration=60", "Nodes=p1", f"Users={user_name()}",
    )  # fmt: skip
    reservation = {"additional_parameters": {"reservation": "tomorrow"}}
    try:
        assert not refusal(tmp_path, site__partition="low", launcher__slurm=reservation)
    finally:
        cluster.scontrol("delete", "ReservationName=tomorrow")


@pytest.fixture
def site_command(tmp_path, monkeypatch):
    """Puts a command of the site's own in front of SLURM's."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def put(name, script):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


def test_an_sbatch_that_knows_no_trials_refuses_nothing(cluster, tmp_path, site_command):
    site_command("sbatch", """echo "sbatch: unrecognized option '--test-only'" >&2; exit 1""")
    assert not refusal(tmp_path)


def test_what_sinfo_says_beside_the_nodes_is_passed_over(cluster, tmp_path, site_command):
    site_command("sinfo", "echo 'sinfo: error: slow' >&2; exit 1")
    assert TOO_LARGE in refusal(tmp_path, resources__cpus=9)


def test_a_limit_on_the_number_of_jobs_is_not_for_now(cluster, tmp_path):
    change = ("sacctmgr", "-i", "modify", "user", user_name(), "set")
    cluster.run(*change, "MaxSubmitJobs=0")
    try:
        assert not refusal(tmp_path)
    finally:
        cluster.run(*change, "MaxSubmitJobs=-1")


def test_a_plan_job_has_resources_of_its_own(cluster, tmp_path):
    with changed(cluster, "partition=cpu", "MinNodes=2", "MinNodes=0"):
        text = refusal(tmp_path, "faces", site__partition="cpu", launcher__slurm={"nodes": 2})
    assert text.startswith("step draw: SLURM takes no such plan job, so nothing was submitted:")
    assert "asked: partition=cpu, nodes=1, ntasks_per_node=1, cpus_per_task=1, mem=512MB" in text


def test_a_complete_step_may_have_been_run_anywhere(cluster, tmp_path):
    write_inputs(tmp_path, a="one")
    run_here(toy_config(tmp_path))
    assert not refusal(tmp_path, site__partition="nope")


def test_steps_of_equal_resources_are_asked_about_once(cluster, tmp_path, monkeypatch):
    asked = []
    ask = trial._ask
    monkeypatch.setattr(trial, "_ask", lambda *a: [asked.append(a[0][0]), ask(*a)][1])
    configs = [toy_config(tmp_path, stage__word=w, resources__cpus=1) for w in "abc"]
    trial.check_steps(
        [StepConfig(name=one.fingerprint, config=one, needs=("first",)) for one in configs]
    )
    assert asked == ["sbatch", "sbatch"]  # for workers, and for plan jobs
