"""New shards of what failed in finished ones and may pass: ``retry_failed=true``.

Which rows failed stands in the tables of the shards; the rows themselves are taken from the lists,
since a table lacks what a checksum was to be.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import xxhash

from hpcpipe.clients.failure import Failure
from hpcpipe.errors import PlanError, ShardError
from hpcpipe.formats.download_table import read_failed
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote import display
from hpcpipe.formats.url_list_convert import ListWriter
from hpcpipe.formats.url_list_read import UrlReader, list_file
from hpcpipe.stage import Input, OutputFile, RetryContext, Shard
from hpcpipe.stages._download_plan import COVERS, FAILED
from hpcpipe.stages._download_shard import SHARD_DEADLINE

if TYPE_CHECKING:
    from hpcpipe.stages.download import Download

RETRY_OF = "hpcpipe:retry_of"
"""Column of the artifact with the key that a row had when it failed."""
MAY_PASS = (*(failure.value for failure in Failure if failure.is_transient), SHARD_DEADLINE)
"""Classes of failures that are tried again."""
_NUM_THREADS = 8
_WINDOW = 64


class _Source(NamedTuple):
    """A finished shard with rows to try again: itself and its table."""

    shard: Shard
    table: OutputFile


class _Failed(NamedTuple):
    """Rows of one shard that failed, in the list's order."""

    source: _Source
    places: Any  # in the shard's range: numpy int64 (N,)
    rows: Any  # pyarrow table: key, error_class (N,)


class _Writing(NamedTuple):
    """An artifact that is written: which shard gave which rows, by the classes they failed with."""

    name: str
    writer: ListWriter
    given: list[tuple[_Source, Any]]  # pyarrow strings


def plan_retries(stage: Download, ctx: RetryContext) -> Iterator[Shard]:
    """Plan shards of the rows that failed and may pass.

    Args:
        stage: the options.
        ctx: the framework's help.

    Yields:
        Shards of up to ``shard_samples`` rows, numbered after the highest.

    Raises:
        PlanError: a table or a list is gone, changed or damaged.
        OutageError: a remote store is down.
        OSError: reading or writing failed.
    """
    first_free, sources = _sources(ctx)
    number = first_free
    for name, given in _write_rows(stage, ctx, sources):
        first_row = 0
        for covers, failed in _cut(given, stage.shard_samples):
            meta = {"number": number, "first_row": first_row, "artifact": name}
            meta |= {COVERS: covers, FAILED: dict(failed)}
            yield Shard(stage.names.shard(number), (), failed.total(), None, meta)
            number += 1
            first_row += failed.total()


def _sources(ctx: RetryContext) -> tuple[int, list[_Source]]:
    """The first free number, and the shards with failures that no earlier retry covered.

    A table says which result of a shard was covered: one that is made anew has failures anew.
    """
    tables: dict[str, OutputFile] = {}
    for result in ctx.results():
        if any(name.endswith(MAY_PASS) for name in result.stats):  # failures are counted by class
            name = f"{result.shard_id}.parquet"
            tables[result.shard_id] = next(file for file in result.outputs if file.path == name)
    covered: set[tuple[str, str]] = set()
    sources, first_free = [], 0
    for shard in ctx.planned():
        first_free = max(first_free, int(shard.meta["number"]) + 1)
        covered.update(shard.meta.get(COVERS, {}).items())
        if shard.id in tables:
            sources.append(_Source(shard, tables[shard.id]))
    left = [s for s in sources if (s.shard.id, s.table.checksum) not in covered]
    return first_free, left


def _write_rows(
    stage: Download, ctx: RetryContext, sources: list[_Source]
) -> list[tuple[str, list[tuple[_Source, Any]]]]:
    """Write the rows to artifacts, one for all lists with columns of the same types."""
    covers = [(source.shard.id, source.table.checksum) for source in sources]
    digest = xxhash.xxh3_64_hexdigest(msgspec.json.encode(covers))
    writing: dict[Any, _Writing] = {}
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(UrlReader(stage.columns))
        is_unchanged = functools.lru_cache(_is_unchanged)
        for failed in _failed(stage, ctx, sources):
            file = _list_of(failed.source.shard, ctx, is_unchanged)
            for batch, classes in _rows(stage, reader, file, failed):
                one = writing.get(batch.schema)
                if one is None:
                    name = f"retry-{digest}-{len(writing)}.parquet"
                    writer = ListWriter(ctx.artifact(name), batch.schema, stage.shard_samples)
                    one = _Writing(name, stack.enter_context(writer), [])
                    writing[batch.schema] = one
                one.writer.write(batch)
                one.given.append((failed.source, classes))
    return [(one.name, one.given) for one in writing.values()]


def _failed(stage: Download, ctx: RetryContext, sources: list[_Source]) -> Iterator[_Failed]:
    """Look for the failed rows in the tables of shards, some at a time."""
    look = functools.partial(_failed_of, stage, ctx)
    with ThreadPoolExecutor(_NUM_THREADS, "hpcpipe-tables") as pool:
        for start in range(0, len(sources), _WINDOW):
            yield from pool.map(look, sources[start : start + _WINDOW])


def _failed_of(stage: Download, ctx: RetryContext, source: _Source) -> _Failed:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        rows = read_failed(ctx.open_path(source.table), MAY_PASS)
    except ShardError as error:
        raise PlanError(
            f"the table of shard {source.shard.id} cannot be read: {error}. To have it made again: "
            "python -m hpcpipe verify RUN --requeue"
        ) from error
    first = int(source.shard.meta["number"]) * 10**stage.names.index_digits
    return _Failed(source, pc.subtract(rows["key"].cast(pa.int64()), first).to_numpy(), rows)


def _list_of(shard: Shard, ctx: RetryContext, is_unchanged: Callable[[Input], bool]) -> Input:
    """The list that a shard's rows are in, as it was then."""

    def artifact(name: str) -> Path:
        path = ctx.planned_artifact(name)
        if path is None:
            raise PlanError(
                f"artifact {name} of the run is gone, and the rows of {shard.id} with it"
            )
        return path

    if not all(map(is_unchanged, shard.inputs)):
        raise PlanError(
            f"{display(shard.inputs[0].path)} changed since its shards were planned, and the rows "
            "that failed cannot be told any more. To download it as it is now: extend=true"
        )
    return list_file(shard.inputs, shard.meta, artifact)


def _is_unchanged(item: Input) -> bool:
    try:
        return stat_input(item.path) == item
    except ShardError as error:
        raise PlanError(f"{error}. It has the rows that are to be tried again") from error


def _rows(
    stage: Download, reader: UrlReader, file: Input, failed: _Failed
) -> Iterator[tuple[Any, Any]]:
    """Read the failed rows of one shard, under the names they have in the list; and classes."""
    import numpy as np
    import pyarrow as pa

    places, first_row = failed.places, int(failed.source.shard.meta["first_row"])
    if not len(places):
        return
    names = [*stage.columns.source_names, RETRY_OF]
    begin = 0
    try:
        for batch in reader.read(file, first_row, int(places[-1]) + 1):
            low, high = np.searchsorted(places, [begin, begin + len(batch)])
            if low < high:
                rows = batch.take(pa.array(places[low:high] - begin))
                keys, classes = failed.rows.slice(low, high - low).to_batches()[0].columns
                yield pa.RecordBatch.from_arrays([*rows.columns, keys], names=names), classes
            begin += len(batch)
    except ShardError as error:
        raise PlanError(f"the rows that failed cannot be read: {error}") from error


def _cut(
    given: Iterable[tuple[_Source, Any]], most: int
) -> Iterator[tuple[dict[str, str], Counter[str]]]:
    """Cut an artifact into ranges of `most` rows: the tables they are from, classes of failures."""
    covers: dict[str, str] = {}
    failed = Counter[str]()
    for source, classes in given:
        while len(classes):
            taken = classes.slice(0, most - failed.total())
            classes = classes.slice(len(taken))
            covers[source.shard.id] = source.table.checksum
            failed.update(taken.to_pylist())
            if failed.total() == most:
                yield covers, failed
                covers, failed = {}, Counter()
    if failed:
        yield covers, failed
