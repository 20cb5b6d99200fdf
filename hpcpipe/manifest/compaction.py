"""Writing the snapshot: the one before, and what the journals have since, as one table."""

from array import array
from typing import Any, cast

import msgspec

from hpcpipe.manifest.files import replace
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.snapshot import (
    FIGURE_COLUMNS,
    FORMAT_VERSION,
    METADATA_KEY,
    STATE_COLUMNS,
    Metadata,
    read_snapshot,
    reader_after,
    snapshot_path,
)
from hpcpipe.manifest.snapshot_rows import as_table, row_schema
from hpcpipe.manifest.state import RunState

ROW_COLUMNS = ("worker", "host", "error_class", "error", "outputs")
_CHUNK_ROWS = 4096
_ROW_GROUP_ROWS = 65_536
_STATUSES = ("done", "pending", "quarantined")


def write_snapshot(run: RunDir, max_attempts: int, max_lost: int) -> RunState:
    """Write what the journals say now into the run's snapshot.

    Args:
        run: the run.
        max_attempts: as for `RunState`.
        max_lost: as for `RunState`.

    Returns:
        The state that was written.

    Raises:
        PlanError: the plan is damaged.
        OSError: the run directory cannot be read or written.
    """
    plan = Plan(run.path, run.info.block_size)
    state = RunState(plan, max_attempts, max_lost)
    columns = (*STATE_COLUMNS, *FIGURE_COLUMNS, *ROW_COLUMNS)
    before = read_snapshot(run, plan, columns, even_small=True)
    rows = _Rows(plan)
    if before is not None:
        attempts = before.attempts()
        state.restore(attempts)
        rows.restore(before.table, attempts)
        for worker, events in before.events(Event):
            state.apply(events)
            rows.add(worker, events)
    reader = reader_after(run, before, Event)
    for worker, events in reader.batches():
        state.apply(events)
        rows.add(worker, events)
    plan.refresh()
    table = rows.table(state)
    metadata = Metadata(FORMAT_VERSION, run.info, reader.offsets, rows.other_events())
    _publish(run, table.replace_schema_metadata({METADATA_KEY: msgspec.json.encode(metadata)}))
    return state


def _publish(run: RunDir, table: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.BufferOutputStream()
    pq.write_table(
        table, data, compression="zstd", row_group_size=_ROW_GROUP_ROWS, write_page_checksum=True
    )
    replace(snapshot_path(run), data.getvalue().to_pybytes())


class _Rows:
    """Collects one row for every shard that is done or has failed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._attempts = array("i")  # the highest one done, and its row; by position in the plan
        self._row = array("q")
        self._chunks: list[Any] = []
        self._waiting: list[tuple[str, Event]] = []
        self._num_rows = 0
        self._told: dict[int, dict[str, None]] = {}
        self._others: dict[str, None] = {}
        self._writers: dict[tuple[str, int], str] = {}
        self._encode = msgspec.json.Encoder().encode

    def restore(self, table: Any, attempts: "array[int]") -> None:
        """Begin with the rows of an older snapshot."""
        schema = row_schema()
        self._chunks.append(table.select(schema.names).cast(schema))
        self._num_rows = table.num_rows
        self._attempts = attempts[:]
        self._row = array("q", range(self._num_rows))

    def add(self, worker: str, events: list[Event]) -> None:
        self._grow()
        indexes = self._plan.indexes([event.shard for event in events])
        for event, index in zip(events, indexes, strict=True):
            if event.event != "done" or index is None:
                self._tell(worker, event, index)
            elif event.attempt > self._attempts[index]:
                self._attempts[index] = event.attempt
                self._row[index] = self._append(worker, event)

    def _grow(self) -> None:
        num_new = len(self._plan) - len(self._row)
        self._attempts.frombytes(bytes(num_new * self._attempts.itemsize))
        self._row.frombytes(bytes(num_new * self._row.itemsize))

    def _append(self, worker: str, event: Event) -> int:
        self._waiting.append((worker, event))
        if len(self._waiting) == _CHUNK_ROWS:
            self._flush()
        self._num_rows += 1
        return self._num_rows - 1

    def _flush(self) -> None:
        if self._waiting:
            self._chunks.append(as_table(self._waiting))
            self._waiting = []

    def _tell(self, worker: str, event: Event, index: int | None) -> None:
        """Keep a line as it is."""
        if event.event == "failed":
            self._writers[event.shard, event.attempt] = worker
        if index is None and event.block.isdecimal():
            index = self._plan.block(int(event.block)).start
        line = f"{worker}\t{self._encode(event).decode()}"
        lines = self._others if index is None else self._told.setdefault(index, {})
        lines[line] = None

    def other_events(self) -> str:
        return "\n".join(self._others)

    def table(self, state: RunState) -> Any:
        """All shards in plan order."""
        import numpy as np
        import pyarrow as pa

        self._grow()
        done = np.frombuffer(state.attempts(), np.int32)
        rows = np.where(done > 0, np.frombuffer(self._row, np.int64), -1)
        for shard_id in state.failures:
            index, failed = self._plan.index(shard_id), state.failed_attempts(shard_id)
            if index is not None and failed and not done[index]:
                last = cast(Event, failed[-1])
                rows[index] = self._append(self._writers[shard_id, last.attempt], last)
        self._flush()
        every = pa.concat_tables([row_schema().empty_table(), *self._chunks])
        table = every.take(pa.array(rows, mask=rows < 0))
        codes = np.where(done > 0, 0, 1).astype(np.int8)
        for index in self._plan.indexes(state.quarantined()):
            if index is not None:
                codes[index] = 2
        status = pa.DictionaryArray.from_arrays(codes, pa.array(_STATUSES)).cast(pa.string())
        events = ["\n".join(self._told[n]) if n in self._told else None for n in range(len(codes))]
        return (
            table.add_column(0, "shard", pa.array(self._plan.ids, pa.string()))
            .add_column(1, "status", status)
            .append_column("events", pa.array(events, pa.string()))
        )
