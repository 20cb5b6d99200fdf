"""What the workers of a run say of themselves, and whether they can be believed."""

import os
import time
from typing import Literal

import msgspec

from hpcpipe.manifest.files import JSON_ERRORS
from hpcpipe.manifest.heartbeat import Beat, read_beat
from hpcpipe.manifest.identity import Identity, process_runs
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.live import Live, live_of

_IDENTITY = msgspec.json.Decoder(Identity)


class WorkerView(msgspec.Struct, frozen=True):
    """One worker as its files show it.

    Attributes:
        identity: who it is.
        beat: its last beat.
        state: ``running``; ``silent`` (beats too old, or its process is gone); ``ended``.
        live: how it goes of late, where it runs; zeros where its stage says nothing inside shards.
        samples_per_s: samples it finished, those of the shard at hand included, by its time
            inside shards; 0 where there are none.
        idle_share: part of its time outside shards, 0 to 1; None where that is unknown.
    """

    identity: Identity
    beat: Beat
    state: Literal["running", "silent", "ended"]
    live: Live
    samples_per_s: float
    idle_share: float | None


def read_workers(run: RunDir, lease_s: float) -> list[WorkerView]:
    """Read all workers' files.

    Args:
        run: the run directory.
        lease_s: a beat older than this (by the filesystem's clock and this one) is silence.

    Returns:
        One view a worker, in order of their names.

    Raises:
        OSError: a file cannot be read.
    """
    views = (read_worker(run, name, lease_s) for name in worker_names(run))
    return [view for view in views if view is not None]


def worker_names(run: RunDir) -> list[str]:
    """Names of all workers that ever began, in order. Raises OSError."""
    names = os.listdir(run.workers)
    return sorted(name.removesuffix(".beat") for name in names if name.endswith(".beat"))


def read_worker(run: RunDir, name: str, lease_s: float) -> WorkerView | None:
    """Read one worker's files.

    Args:
        run: the run directory.
        name: the worker's name.
        lease_s: as for `read_workers`.

    Returns:
        The worker; None where a file is missing or damaged.

    Raises:
        OSError: a file cannot be read.
    """
    path = run.workers / f"{name}.beat"
    beat = read_beat(path)
    try:
        identity = _IDENTITY.decode(path.with_suffix(".json").read_bytes())
    except (FileNotFoundError, *JSON_ERRORS):
        return None
    if beat is None:
        return None
    # When the filesystem saw the beat: the clock of the worker's machine may be wrong.
    age_s = time.time() - path.stat().st_mtime
    return _view(identity, beat, is_recent=age_s < lease_s)


def is_running(run: RunDir, name: str, lease_s: float) -> bool:
    """Tell whether a worker is at work, or may be. Arguments and errors as `read_worker`."""
    view = read_worker(run, name, lease_s)
    return view is not None and view.state == "running"


def _view(identity: Identity, beat: Beat, *, is_recent: bool) -> WorkerView:
    used, state = beat.used, _state(identity, beat, is_recent=is_recent)
    num_samples = used.num_samples + (beat.num_samples if beat.shard else 0)
    return WorkerView(
        identity=identity,
        beat=beat,
        state=state,
        live=live_of([beat.pace] if state == "running" else []),
        samples_per_s=num_samples / used.busy_s if used.busy_s else 0.0,
        idle_share=max(1 - used.busy_s / used.wall_s, 0.0) if used.wall_s else None,
    )


def _state(
    identity: Identity, beat: Beat, *, is_recent: bool
) -> Literal["running", "silent", "ended"]:
    if beat.state == "ended":
        return "ended"
    runs = process_runs(identity)
    return "running" if (is_recent if runs is None else runs) else "silent"
