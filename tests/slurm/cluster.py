"""A real two-node SLURM on this machine, for tests and for trying things by hand.

From the repository's root::

    python -m tests.slurm.cluster up DIR      # prints what to export
    python -m tests.slurm.cluster down DIR

No root and no systemd are needed, only the packages (``make slurm-packages``). The daemons
themselves are the business of `tests.slurm.daemons`.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.slurm.config import NODES, ClusterConfig
from tests.slurm.daemons import ClusterError, environment

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 30.0
ACTIVE_STATES = frozenset(
    {
        *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED"),
        *("SIGNALING", "STAGE_OUT"),
    }
)


class Cluster:
    """One cluster and its commands.

    Attributes:
        folder: everything of the cluster; logs are in ``log/``.
        env: environment for anything that is to talk to this cluster.
        nodes: names of the nodes; ``g1`` has four pretend GPUs.
    """

    nodes = NODES

    def __init__(
        self, folder: Path, *, accounting: bool = True, max_array_size: int = 1001
    ) -> None:
        self._config = ClusterConfig(
            folder=folder.resolve(), accounting=accounting, max_array_size=max_array_size
        )
        self.folder = self._config.folder
        self.env = environment(self._config)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self, *, detached: bool = False) -> None:
        """Bring the cluster up and return when both nodes take jobs.

        Args:
            detached: keep it running after this process ends.

        Raises:
            ClusterError: it did not come up; the text says why.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._config.ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.slurm.daemons", str(self.folder)]
        command += [] if self._config.accounting else ["--no-accounting"]
        command += ["--max-array-size", str(self._config.max_array_size)]
        command += [] if detached else ["--until-eof"]
        with self._config.log_file.open("wb") as log:
            self._supervisor = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "cluster.pid").write_text(str(self._supervisor.pid))
        try:
            self._wait_ready(self._supervisor)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the cluster that this object started, jobs included; nothing when it is stopped.

        Raises:
            ClusterError: it did not stop in time.
        """
        if self._supervisor is None:
            return
        self._supervisor.terminate()
        try:
            self._supervisor.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{self.folder}: the cluster did not stop") from error
        finally:
            if self._supervisor.stdin:
                self._supervisor.stdin.close()
        self._supervisor = None

    def run(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command in this cluster's environment and return its output.

        Raises:
            AssertionError: it failed; the text has its messages.
            TimeoutExpired: it took longer than `timeout_s`.
        """
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def sbatch(self, *arguments: str) -> str:
        """Submit a job and return its id."""
        return self.run("sbatch", "--parsable", *arguments).strip().split(";")[0]

    def squeue(self, *arguments: str) -> str:
        """Output of squeue, without a heading."""
        return self.run("squeue", "--noheader", *arguments)

    def scancel(self, *arguments: str) -> None:
        """Cancel or signal jobs."""
        self.run("scancel", *arguments)

    def scontrol(self, *arguments: str) -> str:
        """Output of scontrol."""
        return self.run("scontrol", *arguments)

    def sacct(self, *arguments: str) -> str:
        """Output of sacct, without a heading, ``|`` between columns."""
        return self.run("sacct", "--noheader", "--parsable2", *arguments)

    def states(self, *job_ids: str) -> dict[str, str]:
        """State of every task of some jobs, by task id (``12_3``) or, for no array, job id."""
        listing = self.squeue("--array", "--states=all", "--format=%i %T", "-j", ",".join(job_ids))
        return dict(line.split() for line in listing.splitlines())

    def wait_for(self, job_ids: str | Iterable[str], timeout_s: float = 60) -> dict[str, str]:
        """Wait until all tasks of some jobs have ended.

        Returns:
            The final state of every task, as `states` does.

        Raises:
            TimeoutError: some have not; the text lists their states.
        """
        ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            states = self.states(*ids)
            if states and not ACTIVE_STATES.intersection(states.values()):
                return states
            time.sleep(0.1)
        raise TimeoutError(f"jobs still active after {timeout_s:.0f} s: {self.states(*ids)}")

    def kill_node(self, node: str, workers: Iterable[int]) -> None:
        """Kill a node's slurmd and its jobs, as a loss of power does.

        Args:
            node: the node.
            workers: process ids of the jobs' batch scripts on it.
        """
        self._config.down_file(node).touch()
        slurmd = int((self.folder / "run" / f"slurmd.{node}.pid").read_text())
        os.kill(slurmd, signal.SIGKILL)
        for pid in workers:
            os.kill(_parent(pid), signal.SIGKILL)  # the slurmstepd
            os.kill(pid, signal.SIGKILL)

    def revive_node(self, node: str) -> None:
        """Let a killed node come back; nothing where it is up."""
        self._config.down_file(node).unlink(missing_ok=True)

    def _wait_ready(self, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._config.ready_file.exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                said = self._config.log_file.read_text().strip()
                raise ClusterError(f"SLURM did not come up. {said} (logs: {self.folder}/log)")
            time.sleep(0.05)


def stop_folder(folder: Path) -> None:
    """Stop the cluster of a folder, whoever started it.

    Raises:
        ClusterError: no cluster runs there, or it did not stop in time.
    """
    pid_file = folder / "cluster.pid"
    pid = int(pid_file.read_text()) if pid_file.exists() else 0
    process = Path(f"/proc/{pid}")
    if not pid or str(folder).encode() not in _command_line(process):
        raise ClusterError(f"{folder}: no cluster runs there")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while str(folder).encode() in _command_line(process):
        if time.monotonic() > deadline:
            raise ClusterError(f"{folder}: the cluster did not stop")
        time.sleep(0.05)
    pid_file.unlink()


def _parent(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def _command_line(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def main() -> int:
    """Bring a cluster up or down from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.cluster")
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-accounting", action="store_true", help="leave sacct disabled")
    parser.add_argument("--max-array-size", type=int, default=1001)
    args = parser.parse_args()
    folder = args.folder.resolve()
    try:
        if args.verb == "down":
            stop_folder(folder)
            return 0
        cluster = Cluster(
            folder, accounting=not args.no_accounting, max_array_size=args.max_array_size
        )
        cluster.start(detached=True)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"export SLURM_CONF={cluster.env['SLURM_CONF']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
