"""What the workers of a run say of themselves, and whether they can be believed."""

import time
from typing import Literal

import msgspec

from hpcpipe.manifest.heartbeat import Beat, Identity, process_runs, read_beat
from hpcpipe.manifest.rundir import RunDir


class WorkerView(msgspec.Struct, frozen=True):
    """One worker as its files show it.

    Attributes:
        identity: who it is.
        beat: its last beat.
        state: ``running``; ``silent`` (beats too old, or its process is gone); ``ended``.
        num_done: shards it finished, where its journal was counted.
        num_failed: attempts of it that failed, likewise.
    """

    identity: Identity
    beat: Beat
    state: Literal["running", "silent", "ended"]
    num_done: int = 0
    num_failed: int = 0


def read_workers(run: RunDir, lease_s: float) -> list[WorkerView]:
    """Read all workers' files.

    Args:
        run: the run directory.
        lease_s: a beat older than this (by the two clocks) is silence.

    Returns:
        One view a worker, in order of their names.

    Raises:
        OSError: a file cannot be read.
    """
    views = []
    for path in sorted(run.workers.glob("*.beat")):
        beat = read_beat(path)
        try:
            identity = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Identity)
        except (FileNotFoundError, msgspec.DecodeError):
            continue
        if beat is not None:
            views.append(WorkerView(identity, beat, _state(identity, beat, lease_s)))
    return views


def _state(identity: Identity, beat: Beat, lease_s: float) -> Literal["running", "silent", "ended"]:
    if beat.state == "ended":
        return "ended"
    runs = process_runs(identity)
    if runs is None:
        runs = time.time() - beat.at < lease_s
    return "running" if runs else "silent"
