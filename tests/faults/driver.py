"""A process that does one run of a toy stage after the other, so that calls in it can be failed.

Reads a line for every run from its standard input, and writes what became of it to its standard
output; the errors are worded and the exit codes are chosen by the real command's own code.
"""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.faults import Faults

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        exit_code: of the command.
        said: what it printed to either stream.
    """

    exit_code: int
    said: str


class Driver:
    """Runs commands in one other process; a context manager."""

    def __init__(self, faults: Faults, who: str = "", **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.driver"],
            cwd=ROOT,
            env=faults.env(who, **env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, folder: Path, name: str = "toy", **values: Any) -> None:
        """Begin a run of a toy stage; see `toy_config`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([str(folder), name, values]) + "\n")
        self._process.stdin.flush()

    def ended(self) -> Ended:
        """Wait for the end of the run that was begun."""
        assert self._process.stdout
        return Ended(*json.loads(self._process.stdout.readline()))

    def exit_code(self) -> int:
        """Wait for the end of the process itself."""
        return self._process.wait(60)

    def run(self, folder: Path, name: str = "toy", **values: Any) -> Ended:
        """Do a run of a toy stage; see `toy_config`."""
        self.start(folder, name, **values)
        return self.ended()

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()


def _main() -> None:
    from hpcpipe import __main__ as command
    from tests.toys.runs import run_here, toy_config

    configs = {}
    for line in sys.stdin:
        if line not in configs:
            folder, name, values = json.loads(line)
            configs[line] = toy_config(Path(folder), name, **values)
        config = configs[line]
        command._dispatch = lambda args, config=config: run_here(config).exit_code
        with io.StringIO() as said:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                exit_code = command.main([])
            print(json.dumps([exit_code, said.getvalue()]), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    _main()
