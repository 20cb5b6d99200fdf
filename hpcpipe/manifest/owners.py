"""Telling dead owners of claims from live ones, without trusting clocks or SLURM.

An owner is stale when its process is seen to be gone or its heartbeat's counter has not changed
for ``lease_s`` of the observer's own monotonic clock.
"""

import time
from pathlib import Path
from typing import Literal

from hpcpipe.manifest.heartbeat import Identity, process_runs

MIN_READS = 3


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
        self._seen: dict[str, tuple[bytes, float, int]] = {}
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
            self._seen[owner.name] = (data, now, 1)
            if before is not None or alive:
                self._beating.add(owner.name)
                return "beating"
            return "stale" if b'"state":"ended"' in data else "unknown"
        _, since, reads = before
        self._seen[owner.name] = (data, since, reads + 1)
        if now - since >= self._lease_s and reads + 1 >= MIN_READS:
            return "stale"
        if b'"state":"ended"' in data:
            return "stale"
        return "beating" if owner.name in self._beating else "unknown"
