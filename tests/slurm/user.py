"""Somebody who types commands on a cluster of the tests, and what they see."""

import subprocess
import sys
from pathlib import Path

from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.workers import read_workers
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toys" / "conf"
SMALL = ("resources.cpus=1", "resources.mem_gb=0.5", "run.heartbeat_s=1", f"paths.code={ROOT}")


class User:
    """Somebody with a shell on the login node of a cluster."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.env = {**cluster.env, "HPCPIPE_CONF": str(TOYS), "HPCPIPE_RUNS": str(folder / "runs")}

    def hpcpipe(self, *args: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hpcpipe", *args],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    def ok(self, *args: str) -> str:
        done = self.hpcpipe(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def field(stdout: str, name: str) -> str:
    """Value of a line of what a launch prints."""
    return next(line for line in stdout.splitlines() if line.startswith(name)).split()[1].strip(",")


def run_dir(user: User, stdout: str) -> Path:
    return user.folder / field(stdout, "run")


def alive(path: Path) -> list[int]:
    """Processes of workers that have said that they are at work, and run."""
    views = read_workers(RunDir(path), lease_s=60)
    return [view.identity.pid for view in views if Path(f"/proc/{view.identity.pid}").exists()]
