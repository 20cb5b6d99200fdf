"""What runs in a task of Spark's: one worker, as a process of its own."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from hpcpipe.errors import HpcPipeError
from hpcpipe.launch.not_started import last_lines
from hpcpipe.launch.task import await_launch, worker_label
from hpcpipe.manifest.rundir import Launch, RunDir, is_run_dir

_PR_SET_PDEATHSIG = 1
_NUM_LINES = 5


def work_in_task(run_dir: str, number: int, index: int, visible_s: float) -> str:
    """Work on a run until nothing is left to claim.

    The worker is a process of its own, so that it may end itself, takes nothing over from what
    this process ran before, and hears of it when Spark kills this process without a word.

    Args:
        run_dir: the run directory.
        number: number of the launch.
        index: the worker's index in it.
        visible_s: how long the launch may take to be seen here.

    Returns:
        What went wrong, for people; empty where nothing did.

    Raises:
        Nothing: Spark would run the task again at once, and end all others after some times.
    """
    try:
        return _work(Path(run_dir), number, index, visible_s)
    except (HpcPipeError, OSError) as error:
        return f"on {socket.gethostname()}: {error}"


def _work(path: Path, number: int, index: int, visible_s: float) -> str:
    host = socket.gethostname()
    await_launch(path, number, visible_s)
    if not is_run_dir(path):
        return (
            f"executors on {host} see no run directory {path}: it must lie on a filesystem that "
            "the driver and all executors share. Set HPCPIPE_RUNS to a folder there"
        )
    run = RunDir(path)
    if not run.claims.is_dir():
        return ""  # closed: the run was over before there was room for this task
    launch = run.read_launch(number)
    output = run.logs / f"{worker_label(launch, index)}.out"
    code = _run_worker(path, launch, index, output)
    if not code:
        return ""
    said = " / ".join(last_lines(output, _NUM_LINES)) or "it said nothing"
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    return f"a worker on {host} {how}: {said}"


def _run_worker(path: Path, launch: Launch, index: int, output: Path) -> int:
    command = [sys.executable, "-m", "hpcpipe", "work", str(path)]
    command += [f"--launch={launch.number}", f"--index={index}"]
    prctl = ctypes.CDLL(None).prctl
    # A Spark that is itself a job of SLURM's: the workers are Spark's to run, not tasks of that.
    names = [name for name in os.environ if not name.startswith("SLURM_") and name != "ENVIRONMENT"]
    with output.open("ab") as file:
        worker = subprocess.Popen(
            command,
            cwd=launch.cwd if os.path.isdir(launch.cwd) else None,
            env={name: os.environ[name] for name in names},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # one TERM when this process is gone, and no HUP beside it
            preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        return worker.wait()
