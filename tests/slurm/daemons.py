"""Run the daemons of one small SLURM cluster: start them, keep them, stop them all.

``python -m tests.slurm.daemons DIR`` stays in the foreground until SIGTERM or SIGINT, or, with
``--until-eof``, until its standard input ends: a caller that holds the other end may be killed
and takes the cluster with it. Everything the daemons leave behind (job steps detach
themselves) is adopted and ended too. The client is `tests.slurm.cluster`.
"""

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.config import NODES, PREEMPTED_NODE, ClusterConfig, user_name

PR_SET_CHILD_SUBREAPER = 36
BASE_COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
ACCOUNTING_COMMANDS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacct")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ClusterError(Exception):
    """The cluster cannot be started; the text says why."""


def environment(config: ClusterConfig) -> dict[str, str]:
    """Build the environment in which this cluster's commands and daemons run.

    Raises:
        Nothing.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    env["SLURM_CONF"] = str(config.slurm_conf)
    env["PATH"] = f"{env.get('PATH', os.defpath)}:{SBIN}"
    return env


def check_installed(config: ClusterConfig) -> None:
    """Check that every program needed is there.

    Raises:
        ClusterError: some are not; it names them and says how to get them.
    """
    needed = BASE_COMMANDS + (ACCOUNTING_COMMANDS if config.accounting else ())
    path = environment(config)["PATH"]
    missing = [name for name in needed if shutil.which(name, path=path) is None]
    if missing:
        raise ClusterError(
            f"SLURM is not installed here: {', '.join(missing)} not found. "
            "Install it with: make slurm-packages"
        )


class Daemons:
    """The running daemons of one cluster, in the order they were started."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.env = environment(config)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and return once both nodes take jobs.

        Raises:
            ClusterError: a daemon ended or did not answer in time.
        """
        self._start_munge()
        if self.config.accounting:
            self._start_accounting()
        self._spawn("slurmctld", ["slurmctld", "-D"])
        self.start_nodes()
        self._wait("the nodes", ["sinfo", "-h", "-N", "-p", "cpu,low", "-o", "%t"], _all_idle)

    def start_nodes(self) -> None:
        """Start the slurmd of every node that has none and is not to stay down."""
        for node in (*NODES, PREEMPTED_NODE):
            name = f"slurmd.{node}"
            if name not in self.running and not self.config.down_file(node).exists():
                self._spawn(name, ["slurmd", "-D", "-N", node])

    def stop(self) -> None:
        """End every daemon, last started first, then kill the jobs they leave behind."""
        for process in reversed(self.running.values()):
            process.terminate()
            with _ignoring_timeout():
                process.wait(STOP_TIMEOUT_S)
        _kill_descendants()

    def check_alive(self) -> None:
        """Report a daemon that ended by itself, once, and forget it."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                print(f"{name} ended with status {process.returncode}", flush=True)
                del self.running[name]

    def _start_munge(self) -> None:
        folder, socket_path = self.config.folder, self.config.munge_socket
        # --force: munge otherwise refuses temporary folders for being too open or too closed
        options = [
            f"--key-file={folder}/munge.key",
            f"--socket={socket_path}",
            f"--pid-file={folder}/run/munged.pid",
            f"--log-file={folder}/log/munged.log",
            f"--seed-file={folder}/run/munge.seed",
        ]
        self._spawn("munged", ["munged", "--foreground", "--force", *options])
        self._wait("munge", ["munge", "-n", f"--socket={socket_path}"])

    def _start_accounting(self) -> None:
        folder, mysql_socket = self.config.folder, self.config.mysql_socket
        user = user_name()
        # two servers must not share one, or they take each other's temporary tables
        temp = folder / "run" / "tmp"
        temp.mkdir(exist_ok=True)
        env = {**self.env, "TMPDIR": str(temp)}
        install = ["mariadb-install-db", "--no-defaults", f"--user={user}", "--skip-test-db"]
        install += [f"--datadir={folder}/db", "--auth-root-authentication-method=normal"]
        with (folder / "log" / "mariadb-install-db.log").open("wb") as log:
            if subprocess.run(install, env=env, stdout=log, stderr=log).returncode != 0:
                raise ClusterError(f"mariadb-install-db failed, see {log.name}")
        server = ["mariadbd", "--no-defaults", f"--user={user}", f"--datadir={folder}/db"]
        server += [f"--socket={mysql_socket}", f"--pid-file={folder}/run/mariadbd.pid"]
        server += [f"--tmpdir={temp}", "--skip-networking", "--innodb-buffer-pool-size=64M"]
        server += ["--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"]
        # slurmdbd asks for longer lock waits than MariaDB's default
        server += ["--innodb-lock-wait-timeout=900"]
        self._spawn("mariadbd", server)
        ping = ["mariadb", "--no-defaults", "-u", "root", "-S", str(mysql_socket), "-e"]
        self._wait("MariaDB", [*ping, "select 1"])
        self.env["MYSQL_UNIX_PORT"] = str(mysql_socket)
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._wait("slurmdbd", ["sacctmgr", "-n", "show", "cluster"])
        # limits are enforced, and so everybody needs an association
        user = ["user", user_name(), "account=hpcpipe", "DefaultAccount=hpcpipe"]
        for thing in (["cluster", "hpcpipe"], ["account", "hpcpipe"], user):
            self._answers(["sacctmgr", "-i", "add", *thing])

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.config.folder / "log" / f"{name}.out").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.config.folder,
                start_new_session=True,
            )

    def _wait(self, what: str, command: list[str], good: Callable[[str], bool] = bool) -> None:
        """Repeat a command until it succeeds and its output is good."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            output = self._answers(command)
            if output is not None and good(output or "empty"):
                return
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise ClusterError(
                        f"{name} ended with status {process.returncode}, "
                        f"see {self.config.folder}/log/{name}.out"
                    )
            time.sleep(0.05)
        raise ClusterError(f"{what} did not answer in {START_TIMEOUT_S:.0f} s")

    def _answers(self, command: list[str]) -> str | None:
        """Output of a command, None when it fails or hangs (sacctmgr hangs on a dead slurmdbd)."""
        try:
            done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=5)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout if done.returncode == 0 else None


def _all_idle(states: str) -> bool:
    return states.split() == ["idle"] * (len(NODES) + 1)


@contextmanager
def _ignoring_timeout() -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired:
        print("a daemon did not stop when asked; killing it", flush=True)


def _children() -> list[int]:
    """Live children of this process; orphans of the daemons become children too."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in listing.split()]


def _kill_descendants() -> None:
    """Kill children until there are none; each round adopts the next generation's orphans."""
    while pids := _children():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def _reap_orphans(daemons: Daemons) -> None:
    known = {process.pid for process in daemons.running.values()}
    for pid in _children():
        if pid not in known:
            os.waitpid(pid, os.WNOHANG)


def _serve(config: ClusterConfig, until_eof: bool) -> None:
    """Keep a cluster running until told to stop."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise ClusterError("this kernel has no PR_SET_CHILD_SUBREAPER")
    check_installed(config)
    config.write()
    daemons = Daemons(config)
    try:
        daemons.start()
        config.ready_file.touch()
        while not (until_eof and _ended(sys.stdin.fileno())):
            time.sleep(0.1)
            _reap_orphans(daemons)
            daemons.check_alive()
            daemons.start_nodes()
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        daemons.stop()


def _ended(descriptor: int) -> bool:
    readable, _, _ = select.select([descriptor], [], [], 0)
    return bool(readable) and not os.read(descriptor, 1)


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def main() -> int:
    """Read the command line and serve; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run a small SLURM cluster in the foreground.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-accounting", action="store_true")
    parser.add_argument("--max-array-size", type=int, default=1001)
    parser.add_argument("--until-eof", action="store_true")
    args = parser.parse_args()
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    config = ClusterConfig(
        folder=args.folder.resolve(),
        accounting=not args.no_accounting,
        max_array_size=args.max_array_size,
    )
    try:
        _serve(config, args.until_eof)
    except (ClusterError, OSError, ValueError) as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
