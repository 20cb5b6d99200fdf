"""The SLURM job that a worker is: what it is called, how long it lasts, how it is run again."""

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

from hpcpipe.config import Config, SlurmLauncher
from hpcpipe.launch import squeue
from hpcpipe.launch.parameters import excluded
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.deadline import LAST_MINUTES_S, Job
from hpcpipe.runtime.devices import place

TIMEOUT_S = 60
_ASK_TIMEOUT_S = 10
_PAUSES_S = (5.0, 15.0, 0.0)
_NO_ANSWER = re.compile(r"contact|communicat|timed out|socket|not respond", re.IGNORECASE)
_QUEUED = re.compile("Job is pending execution")
"""What is said where another worker of the job has asked before."""
_LAST_S = 60.0
_TIME_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


def own_job(config: Config, launch: Launch) -> Job | None:
    """The batch job of this process, as its worker sees it.

    Args:
        config: the config of the launch.
        launch: the launch.

    Returns:
        The job; None outside SLURM.

    Raises:
        Nothing.
    """
    name = _name()
    if not name or launch.is_attended:
        return None
    left_s = _left_s(name, config, launch)

    def avoid(nodes: list[str]) -> None:
        # What a file that was written by hand excludes is not known, and would be lost.
        if launch.kind in ("slurm", "script") and launch.array_job:
            squeue.exclude([launch.array_job], excluded(config, nodes))

    if place().num_ranks == 1:
        return Job(left_s, lambda: _queue_again(name), avoid, is_alone=True)
    # One of several workers must not end the others early: they wait for the limit's warning,
    # and then leave each other time to come to an end.
    until = None if left_s is None else time.monotonic() + left_s - _LAST_S
    return Job(None, lambda: _queue_shared_again(name, until), avoid, is_alone=False)


def _name() -> str:
    """What scontrol calls this job and no other.

    The last task of an array has the array's number as its job id, which means all of it.
    """
    env = os.environ
    if "SLURM_ARRAY_JOB_ID" in env and "SLURM_ARRAY_TASK_ID" in env:
        return f"{env['SLURM_ARRAY_JOB_ID']}_{env['SLURM_ARRAY_TASK_ID']}"
    return env.get("SLURM_JOB_ID", "")


def _left_s(name: str, config: Config, launch: Launch) -> float | None:
    """Time left: what SLURM's environment says, else what was asked for, else what squeue says."""
    limit_s = _limit_s(config, launch)
    return _ask_left_s(name) if limit_s is None else max(limit_s - _age_s(), 0.0)


def _limit_s(config: Config, launch: Launch) -> float | None:
    start, end = (os.environ.get(f"SLURM_JOB_{at}_TIME", "") for at in ("START", "END"))
    if start.isdecimal() and end.isdecimal():
        # Both by the controller's clock; this node's may be another.
        return float(int(end) - int(start))
    if launch.kind != "slurm" or not isinstance(config.launcher, SlurmLauncher):
        return None
    own = {**config.site.slurm, **config.launcher.slurm}
    if {"time", "timeout_min"} & {*own, *(own.get("additional_parameters") or {})}:
        return None
    return config.resources.time_min * 60.0


def _age_s() -> float:
    """Seconds since the job's batch script began, which is this process or one above it."""
    script = os.environ.get("SLURM_TASK_PID", "")
    pid, (parent, began_at_s) = os.getpid(), _parent_and_start("self")
    own_s = began_at_s
    with contextlib.suppress(OSError):  # of a process that is hidden
        while str(pid) != script and parent > 0:
            pid = parent
            parent, began_at_s = _parent_and_start(pid)
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return uptime_s - (began_at_s if str(pid) == script else own_s)


def _parent_and_start(pid: int | str) -> tuple[int, float]:
    """A process's parent, and when it began in seconds since the machine did."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _ask_left_s(name: str) -> float | None:
    command = ["squeue", "--noheader", f"--jobs={name}", "--format=%L"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _TIME_LEFT.fullmatch(done.stdout.strip())
    if match is None:
        return None  # UNLIMITED, or an answer that is none
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _queue_shared_again(name: str, until: float | None) -> str:
    pause_s = 0.0 if until is None else until - time.monotonic()
    if 0 < pause_s <= LAST_MINUTES_S - _LAST_S:  # else somebody sent the warning, not the limit
        time.sleep(pause_s)
    refusal = _queue_again(name)
    return "" if _QUEUED.search(refusal) else refusal


def _queue_again(name: str) -> str:
    """Ask for another run of the job; a controller that does not answer is asked three times."""
    refusal = ""
    for pause_s in _PAUSES_S:
        refusal = _requeue(name)
        if not _NO_ANSWER.search(refusal):
            break
        time.sleep(pause_s)
    return refusal


def _requeue(name: str) -> str:
    command = ["scontrol", "requeue", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        return "there is no scontrol on this node"
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return f"scontrol timed out after {TIMEOUT_S} s"
    if done.returncode <= 0:
        return ""  # below 0: what it asked for has ended it, too
    return " ".join(done.stderr.split()) or f"scontrol ended with status {done.returncode}"
