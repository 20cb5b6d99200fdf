"""Heartbeats: how workers see that another one is alive, without trusting clocks or SLURM.

``workers/NAME.beat`` holds a counter that is rewritten, and what the worker does and has used. Who
it is stands in ``identity.py``; what is concluded from both, in ``owners.py``.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hpcpipe.manifest.files import JSON_ERRORS, printable, write_new
from hpcpipe.manifest.usage import Pace, Usage

logger = logging.getLogger(__name__)

BEAT_BYTES = 4096
MAX_COUNTERS = 64
"""Counters of the shard at hand that a beat carries."""
MAX_NAME_CHARS = 64
FIRST_S = 1.0
"""The first beat comes after this, later ones ever later up to the usual time: a worker that has
just begun is looked at most, and what one does that dies young is not lost."""


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
        bytes_in: bytes of input that its stage says were read for it so far.
        stats: its counters so far, the largest ones where there are many.
        remark: what the stage last said of it, for people.
        pace: how fast it goes of late.
        note: why it stopped, where it did.
    """

    counter: int
    at: float
    state: Literal["starting", "working", "waiting", "ended"]
    used: Usage = Usage()
    shard: str = ""
    shard_since: float = 0.0
    num_samples: int = 0
    bytes_in: int = 0
    stats: dict[str, int | float] = {}
    remark: str = ""
    pace: Pace = Pace()
    note: str = ""


class Heartbeat:
    """Beats in a thread until it is told to stop, and says what the worker does.

    Attributes:
        path: ``workers/NAME.beat``.
    """

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
            every_s: seconds between beats, once it has beaten a while.
            on_beat: called in the beating thread before every beat (a watchdog).
            measure: says what was used so far; called for every beat, in any thread.

        Raises:
            OSError: the file cannot be written.
        """
        self.path = path
        self._every_s = every_s
        self._on_beat = on_beat
        self._measure = measure
        self._beat = Beat(counter=0, at=time.time(), state="starting", used=measure())
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        write_new(path, _padded(self._beat))
        self._written_at = time.monotonic()

    def start(self) -> None:
        """Begin to beat. Raises RuntimeError when started twice."""
        self._thread.start()

    def update(self, **changes: object) -> None:
        """Change what the next beat says (fields of `Beat`). Raises TypeError for others."""
        with self._lock:
            self._beat = msgspec.structs.replace(self._beat, **changes)

    def at_hand(self, shard: str) -> None:
        """Say which shard is at hand from now on, nothing of it done; "" for none. Raises nothing.

        Args:
            shard: its id.
        """
        since = time.time() if shard else 0.0
        nothing = {"num_samples": 0, "bytes_in": 0, "stats": {}, "remark": ""}
        self.update(shard=shard, shard_since=since, **nothing)

    @property
    def beat(self) -> Beat:
        """The latest state."""
        return self._beat

    @property
    def silent_s(self) -> float:
        """Seconds since the last beat that could be written."""
        return time.monotonic() - self._written_at

    def beat_now(self) -> bool:
        """Write a beat between two others, so that a change is seen at once.

        Returns:
            False where it could not be written.

        Raises:
            Nothing.
        """
        return self._write()

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
        self.at_hand("")
        self.update(state="ended", note=printable(note))
        self._write()

    def _run(self) -> None:
        pause_s = min(FIRST_S, self._every_s)
        while not self._stop.wait(pause_s):
            pause_s = min(2 * pause_s, self._every_s)
            self._on_beat()
            self._write()

    def _write(self) -> bool:
        with self._lock:
            self._beat = msgspec.structs.replace(
                self._beat, counter=self._beat.counter + 1, at=time.time(), used=self._measure()
            )
            try:
                # Opened and closed each time: that is what makes it visible on NFS.
                fd = os.open(self.path, os.O_WRONLY)
                try:
                    os.pwrite(fd, _padded(self._beat), 0)
                finally:
                    os.close(fd)
            except OSError as error:
                logger.warning("heartbeat %s: %s", self.path, error)
                return False
            self._written_at = time.monotonic()
            return True


def _padded(beat: Beat) -> bytes:
    """The beat in a fixed number of bytes; texts and counters are cut, the other figures never."""
    data = msgspec.json.encode(beat)
    room = BEAT_BYTES
    while len(data) >= BEAT_BYTES:
        room //= 2
        texts = {name: getattr(beat, name)[:room] for name in ("shard", "remark", "note")}
        stats = largest(beat.stats, room // MAX_NAME_CHARS)
        data = msgspec.json.encode(msgspec.structs.replace(beat, stats=stats, **texts))
    return data.ljust(BEAT_BYTES - 1) + b"\n"


def largest(stats: Mapping[str, int | float], number: int) -> dict[str, int | float]:
    """Keep the largest counters.

    Args:
        stats: counters.
        number: of how many.

    Returns:
        So many of them.

    Raises:
        Nothing.
    """
    if len(stats) <= number:
        return dict(stats)
    return dict(sorted(stats.items(), key=lambda item: -item[1])[:number])


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
    except (FileNotFoundError, *JSON_ERRORS):
        return None
