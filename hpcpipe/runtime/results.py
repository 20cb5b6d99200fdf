"""What a run has made, read from its journals, and whether it is still there as recorded."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Literal, NamedTuple

from hpcpipe.config import Config, RunOptions
from hpcpipe.errors import ConfigError
from hpcpipe.formats.remote import filesystem, is_remote
from hpcpipe.formats.remote_errors import outages
from hpcpipe.manifest.journal import Brief, Event, JournalReader
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.snapshot import STATE_COLUMNS, Snapshot, read_snapshot, reader_after
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.outputs import OutputFolder, check_name
from hpcpipe.runtime.staged_file import CHECKSUMS, COPY_BYTES
from hpcpipe.stage import OutputFile, ShardResult

_BATCH = 1024


class Finding(NamedTuple):
    """One recorded output that is not as recorded.

    Attributes:
        shard_id: its shard.
        path: path or URL.
        problem: what is wrong.
        detail: expected and found.
    """

    shard_id: str
    path: str
    problem: Literal["missing", "size", "checksum", "unreadable"]
    detail: str


def open_state(run: RunDir, config: Config) -> tuple[RunState, JournalReader[Brief]]:
    """Read plan and journals of a run.

    Args:
        run: the run directory.
        config: its config.

    Returns:
        The state, and the reader to go on with.

    Raises:
        PlanError: the plan is damaged.
        OSError: a file cannot be read.
    """
    return read_state(run, config.run)


def read_state(run: RunDir, options: RunOptions) -> tuple[RunState, JournalReader[Brief]]:
    """Read plan and journals of a run whose stage need not be known.

    Args:
        run: the run directory.
        options: how its shards are run.

    Returns:
        The state, and the reader to go on with.

    Raises:
        PlanError: the plan is damaged.
        OSError: a file cannot be read.
    """
    plan = Plan(run.path, run.info.block_size)
    return state_after(run, plan, read_snapshot(run, plan, STATE_COLUMNS), options)


def state_after(
    run: RunDir, plan: Plan, snapshot: Snapshot | None, options: RunOptions
) -> tuple[RunState, JournalReader[Brief]]:
    """Go on from a run's plan and snapshot.

    Args:
        run: the run directory.
        plan: its plan; shards that were added since are taken in.
        snapshot: its snapshot with `STATE_COLUMNS`; None to read the journals alone.
        options: how its shards are run.

    Returns:
        The state, and the reader to go on with.

    Raises:
        PlanError: the plan is damaged.
        OSError: a file cannot be read.
    """
    state = RunState(plan, options.max_attempts, options.max_lost)
    if snapshot is not None:
        state.restore(snapshot.attempts())
        for _, events in snapshot.events(Brief):
            state.apply(events)
    reader = reader_after(run, snapshot, Brief)
    for _, events in reader.batches():
        state.apply(events)
    plan.refresh()  # which now has every shard that the events speak of
    return state, reader


def collect_results(run: RunDir, state: RunState) -> dict[str, ShardResult]:
    """Read the results that count: those of each done shard's highest attempt.

    Args:
        run: the run directory.
        state: its state.

    Returns:
        Results by shard id, `FINALIZE` among them where it is done.

    Raises:
        OSError: a journal cannot be read.
    """
    return {result.shard_id: result for result in iter_results(run, state)}


def iter_results(run: RunDir, state: RunState) -> Iterator[ShardResult]:
    """Read the results that count, one after the other, in the order of the journals.

    Args:
        run: the run directory.
        state: its state; only what is done by it is given.

    Yields:
        The results, that of `FINALIZE` among them where it is done.

    Raises:
        OSError: a journal cannot be read.
    """
    for _, events in JournalReader(run.journal, Event).batches():
        for event in events:
            if event.event == "done" and counts(state, event):
                yield ShardResult(event.shard, event.outputs, event.stats)


def counts(state: RunState, event: Event) -> bool:
    """Whether a ``done`` event is the one that counts for its shard. Raises nothing."""
    return state.done_attempt(event.shard) == event.attempt


def check_outputs(
    folder: OutputFolder, results: Iterable[ShardResult], *, deep: bool
) -> Iterable[Finding]:
    """Compare recorded outputs with what is there.

    Args:
        folder: the run's output folder.
        results: the results to look at.
        deep: read every file and compare its checksum, too.

    Yields:
        One finding for every output that is not as recorded.

    Raises:
        OutageError: the outputs' store is down.
        OSError: the filesystem fails.
    """
    for result in results:
        for output in result.outputs:
            found = _check(folder.open_path(output.path), output, deep=deep)
            if found is not None:
                yield Finding(result.shard_id, folder.open_path(output.path), *found)


def check_outputs_in_threads(
    folder: OutputFolder, results: Iterable[ShardResult], *, deep: bool, num_threads: int
) -> Iterator[list[Finding]]:
    """Compare recorded outputs with what is there, several shards at a time.

    Args:
        folder: the run's output folder.
        results: the results to look at.
        deep: read every file and compare its checksum, too.
        num_threads: shards looked at at a time.

    Yields:
        The findings of one shard after the other, in order; an empty list for one that is as
        recorded. A file that cannot be read is a finding.

    Raises:
        HpcPipeError: the output folder cannot be opened at all, or its store is down.
    """

    def check(result: ShardResult) -> list[Finding]:
        findings: list[Finding] = []
        for output in result.outputs:
            try:
                one = ShardResult(result.shard_id, (output,))
                findings.extend(check_outputs(folder, (one,), deep=deep))
            except OSError as error:
                path = folder.open_path(output.path)
                findings.append(Finding(result.shard_id, path, "unreadable", str(error)))
        return findings

    rest = iter(results)
    with ThreadPoolExecutor(num_threads, "hpcpipe-verify") as pool:
        while batch := list(itertools.islice(rest, _BATCH)):
            yield from pool.map(check, batch)


def _check(
    path: str, output: OutputFile, *, deep: bool
) -> tuple[Literal["missing", "size", "checksum", "unreadable"], str] | None:
    try:
        check_name(output.path)
        size_bytes = _size_bytes(path)
    except ConfigError as error:
        return "unreadable", str(error)
    except FileNotFoundError:
        return "missing", "there is no such file"
    except PermissionError as error:
        return "unreadable", str(error)
    if size_bytes != output.size_bytes:
        return "size", f"{size_bytes} bytes, {output.size_bytes} were recorded"
    if deep:
        checksum = file_checksum(path, output.checksum.partition(":")[0])
        if checksum != output.checksum:
            return "checksum", f"{checksum}, {output.checksum} was recorded"
    return None


def _size_bytes(path: str) -> int:
    if not is_remote(path):
        return os.stat(path).st_size
    fs, name = filesystem(path)
    with outages(path):
        return int(fs.info(name)["size"])


def file_checksum(path: str, algorithm: str) -> str:
    """Compute a file's content checksum.

    Args:
        path: path or URL.
        algorithm: one of `CHECKSUMS`.

    Returns:
        ``algorithm:hexdigest``.

    Raises:
        KeyError: the algorithm is unknown.
        OutageError: its store is down.
        OSError: the file cannot be read.
    """
    hasher = CHECKSUMS[algorithm]()
    with outages(path) if is_remote(path) else contextlib.nullcontext(), _opened(path) as stream:
        while data := stream.read(4 * COPY_BYTES):
            hasher.update(data)
    return f"{algorithm}:{hasher.hexdigest()}"


def _opened(path: str) -> IO[bytes]:
    if not is_remote(path):
        return open(path, "rb", buffering=0)
    fs, name = filesystem(path)
    stream: IO[bytes] = fs.open(name, "rb", block_size=8 * COPY_BYTES)
    return stream
