"""What runs as process 1 of a pretended machine: starts, signals and buries its processes.

Commands come as JSON lines on standard input, each is answered with one. Processes are forked
from this one, which has everything imported: starting one takes milliseconds.
"""

import json
import os
import socket
import sys
import traceback
from pathlib import Path

import hpcpipe.__main__
import hpcpipe.cli.work
import hpcpipe.compose.app
import tests.torture.stages  # noqa: F401 - imported once for all


def main() -> None:
    """Answer commands until there are no more; then this machine is gone."""
    socket.sethostname(sys.argv[1])
    ended: dict[int, int] = {}
    for line in sys.stdin:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
        command = json.loads(line)
        answer: object = None
        match command["do"]:
            case "start":
                answer = _start(command["args"], command["out"])
            case "signal":
                answer = _signal(command["pid"], command["signal"])
            case "look":
                states = _states()
                stopped = [pid for pid, state in states.items() if state == "T"]
                answer = {"alive": list(states), "stopped": stopped, "ended": list(ended.items())}
                ended = {}
        print(json.dumps(answer), flush=True)


def _start(args: list[str], out: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.argv = ["hpcpipe", *args]
        code = hpcpipe.__main__.main(args)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _states() -> dict[int, str]:
    """State of every process of this machine that is not dead, apart from this one."""
    states = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != "1":
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            state = stat[stat.rindex(")") + 2]
            if state not in "ZX":
                states[int(entry.name)] = state
    return states


if __name__ == "__main__":
    main()
