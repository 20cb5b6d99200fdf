"""Heartbeats: how workers see that another one is alive, without trusting clocks or SLURM.

Every worker has two files: ``workers/NAME.json``, written once, says who it is (claims are hard
links to it); ``workers/NAME.beat`` holds a counter that is rewritten. What is concluded from them
is in ``owners.py``.
"""

import functools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from hpcpipe.manifest.files import printable, write_new
from hpcpipe.manifest.usage import Usage

logger = logging.getLogger(__name__)

_CLOCK_SLACK_S = 60.0
BEAT_BYTES = 1024


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


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker does now.

    Attributes:
        counter: grows with every beat.
        at: Unix time in seconds by the worker's clock; for people.
        state: what it is doing.
        used: what it has used so far.
        shard: the shard at hand.
        shard_since: Unix time in seconds when it began.
        num_samples: samples done of it.
        note: why it stopped, where it did.
    """

    counter: int
    at: float
    state: Literal["starting", "working", "waiting", "ended"]
    used: Usage = Usage()
    shard: str = ""
    shard_since: float = 0.0
    num_samples: int = 0
    note: str = ""


def own_identity(name: str, label: str, launch: int) -> Identity:
    """Describe this process.

    Args:
        name: unique worker name.
        label: what people know it by.
        launch: number of the launch it belongs to.

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
        restart=int(env.get("SLURM_RESTART_COUNT", "0") or 0),
        launch=launch,
        started_at=time.time(),
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


class Heartbeat:
    """Beats in a thread until it is told to stop, and says what the worker does."""

    def __init__(
        self,
        path: Path,
        every_s: float,
        on_beat: Callable[[], None],
        measure: Callable[[], Usage] = Usage,
    ) -> None:
        """Write the first beat.

        Args:
            path: ``workers/NAME.beat``, which must not exist.
            every_s: seconds between beats.
            on_beat: called in the beating thread before every beat (a watchdog).
            measure: says what was used so far; called for every beat, in any thread.

        Raises:
            OSError: the file cannot be written.
        """
        self._path = path
        self._every_s = every_s
        self._on_beat = on_beat
        self._measure = measure
        self._beat = Beat(counter=0, at=time.time(), state="starting", used=measure())
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        write_new(path, _padded(self._beat))

    def start(self) -> None:
        """Begin to beat. Raises RuntimeError when started twice."""
        self._thread.start()

    def update(self, **changes: object) -> None:
        """Change what the next beat says (fields of `Beat`). Raises TypeError for others."""
        with self._lock:
            self._beat = msgspec.structs.replace(self._beat, **changes)

    @property
    def beat(self) -> Beat:
        """The latest state."""
        return self._beat

    def beat_now(self) -> None:
        """Write a beat between two others, so that a change is seen at once. Raises nothing."""
        self._write()

    def end(self, note: str) -> None:
        """Stop beating and say that the worker ended.

        Args:
            note: why, in a few words; empty for a plain end.

        Raises:
            Nothing: a last beat that cannot be written is logged, and the lease runs out.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.update(state="ended", shard="", note=printable(note))
        self._write()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._on_beat()
            self._write()

    def _write(self) -> None:
        with self._lock:
            self._beat = msgspec.structs.replace(
                self._beat, counter=self._beat.counter + 1, at=time.time(), used=self._measure()
            )
            try:
                # Opened and closed each time: that is what makes it visible on NFS.
                fd = os.open(self._path, os.O_WRONLY)
                try:
                    os.pwrite(fd, _padded(self._beat), 0)
                finally:
                    os.close(fd)
            except OSError as error:
                logger.warning("heartbeat %s: %s", self._path, error)


def _padded(beat: Beat) -> bytes:
    """The beat in a fixed number of bytes; texts that are too long are cut, figures never."""
    data = msgspec.json.encode(beat)
    room = BEAT_BYTES
    while len(data) >= BEAT_BYTES:
        room //= 2
        data = msgspec.json.encode(
            msgspec.structs.replace(beat, shard=beat.shard[:room], note=beat.note[:room])
        )
    return data.ljust(BEAT_BYTES - 1) + b"\n"


def read_beat(path: Path) -> Beat | None:
    """Read a heartbeat.

    Args:
        path: ``workers/NAME.beat``.

    Returns:
        The beat; None where the file is missing or was caught half-written.

    Raises:
        OSError: it cannot be read for another reason.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Beat)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
