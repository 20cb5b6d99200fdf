"""The test cluster itself: what the other tests rely on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import ROOT, Cluster
from tests.slurm.config import ClusterConfig
from tests.slurm.daemons import ClusterError, check_installed

pytestmark = pytest.mark.slurm


def test_array_runs_on_both_nodes(slurm, tmp_path):
    script = 'echo "$SLURMD_NODENAME $SLURM_ARRAY_TASK_ID"; until [ -e 9.out ]; do sleep 0.1; done'
    own = (f"--chdir={tmp_path}", f"--output={tmp_path}/%a.out", f"--wrap={script}")
    job = slurm.sbatch("--array=0-9", *own)
    states = slurm.wait_for(job)
    assert states == {f"{job}_{index}": "COMPLETED" for index in range(10)}
    lines = sorted(path.read_text().split() for path in tmp_path.glob("*.out"))
    assert {node for node, _ in lines} == set(slurm.nodes)
    assert sorted(int(index) for _, index in lines) == list(range(10))


def test_sacct_answers(slurm, tmp_path):
    job = slurm.sbatch(f"--output={tmp_path}/out", "--wrap=exit 3")
    assert slurm.wait_for(job) == {job: "FAILED"}
    deadline = time.monotonic() + 30
    while "FAILED|3:0" not in (said := slurm.sacct("-X", "-j", job, "--format=State,ExitCode")):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_sacct_is_disabled_without_accounting(slurm_no_accounting, tmp_path):
    job = slurm_no_accounting.sbatch(f"--output={tmp_path}/out", "--wrap=true")
    assert slurm_no_accounting.wait_for(job) == {job: "COMPLETED"}
    with pytest.raises(AssertionError, match="accounting storage is disabled"):
        slurm_no_accounting.sacct("-j", job)


def test_array_size_limit(slurm_no_accounting):
    with pytest.raises(AssertionError, match="Invalid job array specification"):
        slurm_no_accounting.sbatch("--array=0-16", "--wrap=true")


def test_each_gpu_task_sees_a_gpu_of_its_own(slurm, tmp_path):
    job = slurm.sbatch(
        *("--array=0-3", "--gres=gpu:1", f"--chdir={tmp_path}", f"--output={tmp_path}/%a.out"),
        "--wrap=echo $CUDA_VISIBLE_DEVICES; until [ -e 3.out ]; do sleep 0.1; done",
    )
    slurm.wait_for(job)
    assert sorted(path.read_text().strip() for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]


def test_requeued_job_starts_again_soon(slurm, tmp_path):
    out = f"--output={tmp_path}/out"
    script = '[ "$SLURM_RESTART_COUNT" = 1 ] || { touch started; sleep 60; }'
    job = slurm.sbatch("--requeue", out, f"--chdir={tmp_path}", f"--wrap={script}")
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    slurm.scontrol("requeue", job)
    assert slurm.wait_for(job) == {job: "COMPLETED"}


def test_nothing_outlives_a_killed_owner(short_folder):
    code = (
        "import sys, time; from pathlib import Path; from tests.slurm.cluster import Cluster\n"
        "cluster = Cluster(Path(sys.argv[1]), accounting=False); cluster.start()\n"
        "cluster.sbatch('--output=/dev/null', '--wrap=sleep 600')\n"
        "while 'RUNNING' not in cluster.squeue('--format=%T'): time.sleep(0.1)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(short_folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout.readline() == b"up\n"
        assert _processes_of(short_folder)
        owner.kill()
    deadline = time.monotonic() + 30
    while left := _processes_of(short_folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_command_line_brings_a_cluster_up_and_down(short_folder):
    command = [sys.executable, "-m", "tests.slurm.cluster"]
    up = subprocess.run(
        [*command, "up", str(short_folder), "--no-accounting"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert up.stdout == f"export SLURM_CONF={short_folder}/slurm.conf\n", up.stderr
    assert "idle" in Cluster(short_folder).run("sinfo")
    subprocess.run([*command, "down", str(short_folder)], cwd=ROOT, check=True)
    assert not _processes_of(short_folder)
    again = subprocess.run(
        [*command, "down", str(short_folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "no cluster runs there" in again.stderr


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.slurm.daemons.SBIN", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"munged.*slurmdbd.*make slurm-packages"):
        check_installed(ClusterConfig(folder=tmp_path))


def test_a_too_long_path_is_refused(tmp_path):
    with pytest.raises(ClusterError, match="too long for a unix socket"):
        Cluster(tmp_path / ("x" * 100), accounting=False).start()


def _processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that have to do with a cluster's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            files = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if process.name != str(os.getpid()) and str(folder) in f"{command} {files}":
            found.append(command)
    return found
