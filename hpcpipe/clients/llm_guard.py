"""A process beside each server that a worker starts: ends the server when the worker is gone.

Run by its path, with the standard library alone: ``python llm_guard.py GRACE_S COMMAND...``. Its
standard input is a pipe that the worker holds. When that closes, however the worker ended, the
server and what it started get SIGTERM, and SIGKILL after some time. When the server ends by itself,
so does this, with the server's exit status.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_LOOK_S = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run a server until it ends or the pipe closes.

    Args:
        arguments: seconds between SIGTERM and SIGKILL, then the command.

    Returns:
        The server's exit status; 127 where it cannot be started.

    Raises:
        Nothing.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the worker says when it is over
    try:
        server = subprocess.Popen(
            arguments[1:], stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_hear_signals
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {arguments[1]}: {error.strerror}\n")
        return 127
    while server.poll() is None:
        if select.select([0], [], [], _LOOK_S)[0] and not os.read(0, 1):
            _signal_group(server, signal.SIGTERM)
            _wait(server, float(arguments[0]))
            break
    _signal_group(server, signal.SIGKILL)  # what the server has left behind, too
    status = server.wait()
    return status if status >= 0 else 128 - status


def _hear_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)


def _signal_group(server: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)


def _wait(server: "subprocess.Popen[bytes]", seconds: float) -> None:
    until = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < until:
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
