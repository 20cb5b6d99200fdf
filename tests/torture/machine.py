"""A pretended machine: its own process ids and host name, and processes that come and go.

Workers on two such machines cannot see each other's processes, so they have only heartbeats to
go by; those on the same one see who is dead.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UNSHARE = ("unshare", "--pid", "--uts", "--mount-proc", "--fork", "--kill-child")


class Machine:
    """One machine, up until it is killed.

    Attributes:
        name: its host name.
        started: arguments and output file of every process started on it, by process id.
        ended: exit codes of those that ended, by process id; negative for signals.
        stopped: processes that stood still when last looked at.
    """

    def __init__(self, name: str, env: dict[str, str]) -> None:
        """Bring it up; returns before it is ready."""
        self.name = name
        self.started: dict[int, tuple[list[str], Path]] = {}
        self.ended: dict[int, int] = {}
        self.stopped: set[int] = set()
        self._process = subprocess.Popen(
            [*UNSHARE, sys.executable, "-m", "tests.torture.zygote", name],
            cwd=ROOT,
            env=os.environ | env | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, args: list[str], out: Path) -> int:
        """Start an hpcpipe command; returns its process id on this machine."""
        pid = int(self._ask(do="start", args=args, out=str(out)))
        self.started[pid] = (args, out)
        return pid

    def alive(self) -> list[int]:
        """Process ids of all living processes, children of commands included."""
        answer = self._ask(do="look")
        self.ended.update(answer["ended"])
        self.stopped = set(answer["stopped"])
        return list(answer["alive"])

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to one process."""
        self._ask(do="signal", pid=pid, signal=int(number))

    def kill(self) -> None:
        """Take the machine away with all that runs on it."""
        self._process.kill()
        self._process.communicate()
