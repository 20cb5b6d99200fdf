"""What the runs that a run reads from held when it was planned, to tell when that has changed.

A run keeps a digest of each in ``sources.json``. Steps of a pipeline have it; a run that was made
alone has none until it becomes one. What was computed is kept in ``digest.json`` of the run that
the digest is of, and holds until another byte is in its journals or plan.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.files import JSON_ERRORS, replace
from hpcpipe.manifest.journal import Brief, JournalReader
from hpcpipe.manifest.plan import Plan, plan_files
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.find import read_options

FILE = "sources.json"
KEPT = "digest.json"
NO_SOURCES: Mapping[str, str] = MappingProxyType({})
"""Of a run that is no step of a pipeline."""

_MASK = (1 << 128) - 1


class _Made(Brief, frozen=True, gc=False):
    outputs: msgspec.Raw = msgspec.Raw(b"[]")


class _Kept(msgspec.Struct, frozen=True):
    of: str
    digest: str


def digest(run: RunDir) -> str:
    """Give a digest of all that a run has made: shards, their files' names and checksums.

    Args:
        run: the run directory.

    Returns:
        32 hex digits, the same whatever the order and the number of attempts.

    Raises:
        PlanError: the plan is damaged.
        OSError: a journal cannot be read.
    """
    # Looked at before the journals are read: what is written meanwhile is of no later size.
    of = _sizes(run)
    kept = _read_kept(run)
    if kept is not None and kept.of == of:
        return kept.digest
    found = _compute(run)
    # Only to save time; who may look at a run may not always write there.
    with contextlib.suppress(OSError):
        replace(run.path / KEPT, msgspec.json.encode(_Kept(of, found)))
    return found


def _sizes(run: RunDir) -> str:
    """Names and sizes of all that a digest is made of; nothing in it is ever written over."""
    import xxhash

    names = sorted(os.listdir(run.journal))
    paths = [*plan_files(run.path), *(run.journal / name for name in names)]
    sizes = {path.name: _size_bytes(path) for path in paths}
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(sizes))


def _size_bytes(path: Path) -> int:
    # Opened, since a network filesystem answers a mere look from what it knew a minute ago.
    with path.open("rb", buffering=0) as file:
        return os.fstat(file.fileno()).st_size


def _read_kept(run: RunDir) -> _Kept | None:
    try:
        return msgspec.json.decode((run.path / KEPT).read_bytes(), type=_Kept)
    except (FileNotFoundError, *JSON_ERRORS):
        return None


def _compute(run: RunDir) -> str:
    import xxhash

    options = read_options(run)
    state = RunState(Plan(run.path, run.info.block_size), options.max_attempts, options.max_lost)
    made: dict[tuple[str, int], int] = {}
    for _, events in JournalReader(run.journal, _Made).batches():
        state.apply(events)
        for event in events:
            if event.event == "done":
                text = event.shard.encode() + bytes(event.outputs)
                made[event.shard, event.attempt] = xxhash.xxh3_128_intdigest(text)
    state.plan.refresh()
    total = sum(
        value for (shard, attempt), value in made.items() if state.done_attempt(shard) == attempt
    )
    return f"{total & _MASK:032x}"


def read_sources(run: RunDir) -> dict[str, str] | None:
    """Read what a run was planned from.

    Args:
        run: the run directory.

    Returns:
        Digests by output folder; None where they were not written down.

    Raises:
        RunMismatchError: the file is damaged.
        OSError: it cannot be read.
    """
    path = run.path / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return None
    except JSON_ERRORS as error:
        raise RunMismatchError(f"{path} is damaged: {error}") from None


def write_sources(folder: Path, sources: Mapping[str, str]) -> None:
    """Write down what a run is planned from. Raises OSError."""
    replace(folder / FILE, msgspec.json.encode(sources))


def changed_sources(run: RunDir, sources: Mapping[str, str]) -> Sequence[str]:
    """List the output folders that hold something else than when a run was planned.

    Args:
        run: the run directory.
        sources: digests by output folder, as they are now.

    Returns:
        The folders; none where it was not written down.

    Raises:
        RunMismatchError: the file is damaged.
        OSError: it cannot be read.
    """
    before = read_sources(run)
    return [f for f in sources if before is not None and before.get(f) != sources[f]]
