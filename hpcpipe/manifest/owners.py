"""Telling dead owners of claims from live ones, without trusting clocks or SLURM.

An owner is stale when its process is seen to be gone or its heartbeat's counter has not changed
for ``lease_s`` of the observer's own monotonic clock. Time in which the observer did not look
hardly counts: where a filesystem hung or machines were suspended, the owner could not beat either.
"""

import time
from pathlib import Path
from typing import Literal

from hpcpipe.manifest.identity import Identity, process_runs

MIN_READS = 3
"""Looks that a lease takes at least; the time between two of them counts accordingly."""


class OwnerWatch:
    """Watches the owners of claims from one worker's point of view."""

    def __init__(self, folder: Path, own: Identity, lease_s: float) -> None:
        """Start without observations.

        Args:
            folder: ``RUN_DIR/workers``.
            own: the observer.
            lease_s: how long a counter may stand still.

        Raises:
            Nothing.
        """
        self._folder = folder
        self._own = own
        self._lease_s = lease_s
        self._seen: dict[str, tuple[bytes, float, float]] = {}
        self._beating: set[str] = set()

    def check(self, owner: Identity) -> Literal["beating", "unknown", "stale"]:
        """Look at one owner once.

        Args:
            owner: the worker that holds a claim.

        Returns:
            ``stale`` where its claim may be taken over, ``beating`` where it was seen to be
            alive, ``unknown`` where more looks are needed.

        Raises:
            OSError: its heartbeat cannot be read.
        """
        if owner.name == self._own.name:
            return "beating"
        runs = process_runs(owner)
        if runs is not None:
            return self._counter(owner, alive=True) if runs else "stale"
        if owner.job and owner.job == self._own.job and owner.restart < self._own.restart:
            return "stale"
        return self._counter(owner, alive=False)

    def _counter(self, owner: Identity, *, alive: bool) -> Literal["beating", "unknown", "stale"]:
        try:
            data = (self._folder / f"{owner.name}.beat").read_bytes()
        except FileNotFoundError:
            data = b""
        now = time.monotonic()
        before = self._seen.get(owner.name)
        if before is None or before[0] != data:
            self._seen[owner.name] = (data, now, 0.0)
            if before is not None or alive:
                self._beating.add(owner.name)
                return "beating"
            return "stale" if b'"state":"ended"' in data else "unknown"
        _, looked_at, stood_s = before
        stood_s += min(now - looked_at, self._lease_s / (MIN_READS - 1))
        self._seen[owner.name] = (data, now, stood_s)
        if stood_s >= self._lease_s or b'"state":"ended"' in data:
            return "stale"
        return "beating" if owner.name in self._beating else "unknown"
