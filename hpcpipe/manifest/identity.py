"""Who a worker is: what its ``workers/NAME.json`` says, and whether that process still runs.

Claims are hard links to that file. Whether a worker elsewhere lives is told by its heartbeat.
"""

import functools
import os
import socket
import time
from pathlib import Path

import msgspec

_CLOCK_SLACK_S = 60.0


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who a worker is; enough to know on its own machine whether it still runs.

    Attributes:
        name: unique worker name, ``LABEL-NONCE``.
        label: what people know it by (``1234_7``, ``local-1-0``, ``here``).
        host: host name.
        node: SLURM's name of the node, where there is one.
        machine: boot id and PID namespace: equal only where pids can be compared.
        pid: process id.
        start_ticks: start time of the process since boot, against reused pids.
        job: SLURM job of this array task; the same after a requeue.
        restart: how often that job was requeued before.
        launch: number of the launch it belongs to.
        started_at: Unix time in seconds.
        code: hash of the stage's source as this worker found it.
    """

    name: str
    label: str
    host: str
    node: str
    machine: str
    pid: int
    start_ticks: int
    job: str = ""
    restart: int = 0
    launch: int = 0
    started_at: float = 0.0
    code: str = ""


def slurm_number(name: str, default: int = 0) -> int:
    """Read a number that SLURM says of this process.

    Args:
        name: the variable, without ``SLURM_``.
        default: what holds where it is not set, or is no number: scripts and containers unset and
            empty such variables.

    Returns:
        The number.

    Raises:
        Nothing.
    """
    value = os.environ.get(f"SLURM_{name}", "")
    return int(value) if value.isdecimal() else default


def own_identity(name: str, label: str, launch: int, code: str = "") -> Identity:
    """Describe this process.

    Args:
        name: unique worker name.
        label: what people know it by.
        launch: number of the launch it belongs to.
        code: hash of the stage's source, where known.

    Returns:
        The identity.

    Raises:
        OSError: /proc cannot be read.
    """
    env = os.environ
    return Identity(
        name=name,
        label=label,
        host=socket.gethostname(),
        node=env.get("SLURMD_NODENAME", ""),
        machine=_machine(),
        pid=os.getpid(),
        start_ticks=_start_ticks(os.getpid()) or 0,
        job=".".join(filter(None, (env.get("SLURM_JOB_ID", ""), env.get("SLURM_PROCID", "")))),
        restart=slurm_number("RESTART_COUNT"),
        launch=launch,
        started_at=time.time(),
        code=code,
    )


def process_runs(identity: Identity) -> bool | None:
    """Look up a worker's process.

    Args:
        identity: the worker.

    Returns:
        Whether it runs; None where that cannot be seen: on another machine, or hidden.

    Raises:
        OSError: /proc cannot be read.
    """
    if identity.machine != _machine():
        return None
    try:
        ticks = _start_ticks(identity.pid)
        if ticks is None:
            os.kill(identity.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return None  # another user's, which /proc is mounted to hide
    return ticks == identity.start_ticks


def is_of_an_earlier_boot(identity: Identity) -> bool:
    """Tell whether a worker ran on this machine, which has been started anew since.

    Args:
        identity: the worker.

    Returns:
        True only where that is sure, by this machine's own names and clock.

    Raises:
        OSError: /proc cannot be read.
    """
    here = (socket.gethostname(), os.environ.get("SLURMD_NODENAME", ""))
    if (identity.host, identity.node) != here or _boot(identity.machine) == _boot(_machine()):
        return False
    lines = Path("/proc/stat").read_text().splitlines()
    booted_at = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    return identity.started_at < booted_at - _CLOCK_SLACK_S


def _boot(machine: str) -> str:
    return machine.partition(" ")[0]


@functools.cache
def _machine() -> str:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"


def _start_ticks(pid: int) -> int | None:
    """Start time of a running process; None for one that ended or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])
