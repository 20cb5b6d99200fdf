"""What the runs that a run reads from held when it was planned, to tell when that has changed.

A run keeps a digest of each in ``sources.json``. Steps of a pipeline have it; a run that was made
alone has none until it becomes one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.files import replace
from hpcpipe.manifest.journal import Brief, JournalReader
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.find import read_options

FILE = "sources.json"
NO_SOURCES: Mapping[str, str] = MappingProxyType({})
"""Of a run that is no step of a pipeline."""

_MASK = (1 << 128) - 1


class _Made(Brief, frozen=True, gc=False):
    outputs: msgspec.Raw = msgspec.Raw(b"[]")


def digest(run: RunDir) -> str:
    """Compute a digest of all that a run has made: shards, their files' names and checksums.

    Args:
        run: the run directory.

    Returns:
        32 hex digits, the same whatever the order and the number of attempts.

    Raises:
        PlanError: the plan is damaged.
        OSError: a journal cannot be read.
    """
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
    except msgspec.DecodeError as error:
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
