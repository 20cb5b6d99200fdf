"""The snapshot: a table of all shards that saves reading every journal from its beginning.

``snapshot.parquet`` has one row a shard, for people and tools as much as for hpcpipe. It is a
cache: the journals stay the truth, and one that is missing, damaged, of another version or ahead
of the journals is passed over. What it says is what the journals said up to the offsets it names;
whoever reads it goes on from there. How it is written is in ``compaction.py``.
"""

import logging
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from hpcpipe.manifest.files import JSON_ERRORS
from hpcpipe.manifest.journal import JournalReader, Line
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir, RunInfo

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
FILE_NAME = "snapshot.parquet"
METADATA_KEY = b"hpcpipe"
WORTH_BYTES = 200_000
"""Smaller ones are not read: their journals are read sooner than pyarrow is imported."""

STATE_COLUMNS = ("status", "attempt", "events")
FIGURE_COLUMNS = ("ended_at", "seconds", "num_samples", "bytes_in", "bytes_out", "stats")


class Metadata(msgspec.Struct, frozen=True):
    """What the file says of itself.

    Attributes:
        format_version: of this file.
        run: the run it is of, as ``run.json`` says it.
        offsets: bytes that were read of every journal, by file name.
        events: journal lines that are no shard's, as in the column ``events``.
    """

    format_version: int
    run: RunInfo
    offsets: dict[str, int]
    events: str


class Snapshot:
    """A snapshot that fits a run.

    Attributes:
        metadata: what it says of itself.
        table: the columns that were asked for, as an Arrow table.
    """

    def __init__(self, metadata: Metadata, table: Any) -> None:
        """Hold what was read; see `read_snapshot`. Raises nothing."""
        self.metadata = metadata
        self.table = table

    def attempts(self) -> "array[int]":
        """Attempts that are done by position in the plan, 0 for none. Raises nothing."""
        import pyarrow.compute as pc

        done = pc.equal(self.table["status"], "done")
        return _array("i", pc.if_else(done, self.table["attempt"], 0))

    def figures(self, name: str, typecode: str) -> "array[Any]":
        """Read one of `FIGURE_COLUMNS` but ``stats``.

        Args:
            name: the column.
            typecode: what to read it as.

        Returns:
            The figures of the shards that are done, in plan order.

        Raises:
            Nothing.
        """
        return _array(typecode, self._done[name])

    @cached_property
    def _done(self) -> Any:
        import pyarrow.compute as pc

        return self.table.filter(pc.equal(self.table["status"], "done"))

    def stats_sums(self) -> dict[str, int | float]:
        """Counters of all shards that are done, summed. Raises nothing."""
        import numpy as np

        sums: dict[str, int | float] = {}
        for chunk in self._done["stats"].chunks:
            keys, values = chunk.keys.dictionary_encode(), chunk.items.to_numpy()
            codes = keys.indices.to_numpy()
            for code, name in enumerate(keys.dictionary.to_pylist()):
                own = values[codes == code]
                whole = own.astype(np.int64)
                exact = int(whole.sum()) if (whole == own).all() else float(own.sum())
                sums[name] = sums.get(name, 0) + exact
        return sums

    def stats(self, row: int) -> dict[str, int | float]:
        """Counters of one of the shards that are done, in plan order. Raises IndexError."""
        pairs = self._done["stats"][row].as_py()
        return {name: int(value) if value.is_integer() else value for name, value in pairs}

    def events(self, line: type[Line]) -> Iterator[tuple[str, list[Line]]]:
        """Read all that the journals said beside which attempts are done.

        Args:
            line: what to read of every line.

        Yields:
            Journal name without suffix, and an event of it.

        Raises:
            Nothing.
        """
        decode = msgspec.json.Decoder(line).decode
        texts = self.table["events"].drop_null().to_pylist()
        for text in (self.metadata.events, *texts):
            for told in filter(None, text.split("\n")):
                worker, _, data = told.partition("\t")
                yield worker, [decode(data)]


def _array(typecode: str, column: Any) -> "array[Any]":
    import numpy as np

    return array(typecode, column.to_numpy().astype(np.dtype(typecode)).tobytes())


def snapshot_path(run: RunDir) -> Path:
    """Path of a run's snapshot. Raises nothing."""
    return run.path / FILE_NAME


def read_snapshot(
    run: RunDir, plan: Plan, columns: tuple[str, ...], *, even_small: bool = False
) -> Snapshot | None:
    """Read the snapshot of a run, where that is worth it.

    Args:
        run: the run.
        plan: its plan.
        columns: columns that are wanted.
        even_small: also where reading the journals takes no longer.

    Returns:
        The snapshot; None where there is none that can be used.

    Raises:
        Nothing.
    """
    path = snapshot_path(run)
    try:
        if path.stat().st_size < WORTH_BYTES and not even_small:
            return None
        return _read(run, plan, path, columns)
    except FileNotFoundError:
        return None
    except _UnusableError as error:
        logger.warning("%s is not used, the journals are read anew: %s", path, error)
        return None


class _UnusableError(Exception):
    """Says why a snapshot is passed over."""


def _read(run: RunDir, plan: Plan, path: Path, columns: tuple[str, ...]) -> Snapshot:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            text = (file.schema_arrow.metadata or {}).get(METADATA_KEY, b"")
            version = msgspec.json.decode(text).get("format_version")
            if version != FORMAT_VERSION:
                raise _UnusableError(f"it has format version {version}")
            metadata = msgspec.json.decode(text, type=Metadata)
            _check(run, plan, metadata, file.metadata.num_rows)
            return Snapshot(metadata, file.read(columns=list(columns), use_threads=False))
    except FileNotFoundError:
        raise
    except (OSError, *JSON_ERRORS, AttributeError, pa.ArrowException) as error:
        raise _UnusableError(f"it is damaged: {error}") from error


def _check(run: RunDir, plan: Plan, metadata: Metadata, num_rows: int) -> None:
    # Where the output is may differ: the run directory was moved.
    if msgspec.structs.replace(metadata.run, output=run.info.output) != run.info:
        raise _UnusableError("it is of another run")
    if num_rows > len(plan):
        raise _UnusableError(f"it has {num_rows} shards, the plan {len(plan)}")
    for name, offset in metadata.offsets.items():
        try:
            size_bytes = (run.journal / name).stat().st_size
        except FileNotFoundError:
            size_bytes = -1
        if size_bytes < offset:
            raise _UnusableError(f"it is ahead of journal {name}")


def reader_after(run: RunDir, snapshot: Snapshot | None, line: type[Line]) -> JournalReader[Line]:
    """Make a reader of what the journals have after a snapshot.

    Args:
        run: the run.
        snapshot: its snapshot; None to read the journals from their beginnings.
        line: what to read of every line.

    Returns:
        The reader.

    Raises:
        Nothing.
    """
    return JournalReader(run.journal, line, snapshot.metadata.offsets if snapshot else None)
