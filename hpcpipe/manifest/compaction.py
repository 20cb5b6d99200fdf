"""Writing the snapshot: the one before, and what the journals have since, as one table."""

from array import array
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from hpcpipe.manifest.files import replace
from hpcpipe.manifest.journal import Brief, Event, JournalReader
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.snapshot import (
    FIGURE_COLUMNS,
    FORMAT_VERSION,
    METADATA_KEY,
    STATE_COLUMNS,
    Metadata,
    Snapshot,
    read_snapshot,
    reader_after,
    snapshot_path,
)
from hpcpipe.manifest.snapshot_rows import as_table, row_schema
from hpcpipe.manifest.state import RunState

ROW_COLUMNS = ("worker", "host", "error_class", "error", "outputs")
_ROW_GROUP_ROWS = 65_536
_STATUSES = ("done", "pending", "quarantined")

_Told = list[tuple[str, Event]]
"""Workers, and lines of their journals."""


def write_snapshot(
    run: RunDir, plan: Plan, max_attempts: int, max_lost: int
) -> tuple[RunState, JournalReader[Brief]]:
    """Write what the journals say now into the run's snapshot.

    Args:
        run: the run.
        plan: its plan; shards that were added since are taken in.
        max_attempts: as for `RunState`.
        max_lost: as for `RunState`.

    Returns:
        The state that was written, and a reader to go on with.

    Raises:
        PlanError: the plan is damaged.
        OSError: the run directory cannot be read or written.
    """
    columns = (*STATE_COLUMNS, *FIGURE_COLUMNS, *ROW_COLUMNS)
    before = read_snapshot(run, plan, columns, even_small=True)
    rows = _Rows(plan)
    if before is not None:
        rows.restore(before)
    reader = reader_after(run, before, Event)
    for worker, events in reader.batches():
        rows.add(worker, events)
    plan.refresh()  # which now has every shard that the events speak of
    rows.add_early()
    state = RunState(plan, max_attempts, max_lost)
    table = rows.table(state)
    texts, others = _texts(plan, rows.told())
    table = table.append_column("events", texts)
    metadata = Metadata(FORMAT_VERSION, run.info, reader.offsets, others)
    _publish(run, table.replace_schema_metadata({METADATA_KEY: msgspec.json.encode(metadata)}))
    return state, JournalReader(run.journal, Brief, reader.offsets)


def _publish(run: RunDir, table: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.BufferOutputStream()
    pq.write_table(
        table, data, compression="zstd", row_group_size=_ROW_GROUP_ROWS, write_page_checksum=True
    )
    replace(snapshot_path(run), data.getvalue().to_pybytes())


def _texts(plan: Plan, told: _Told) -> tuple[Any, str]:
    """Lines as they were, by shard, and those that are no shard's."""
    import pyarrow as pa

    encode = msgspec.json.Encoder().encode
    lines: dict[int | None, dict[str, None]] = {}
    for worker, event in told:
        index = plan.index(event.shard)
        if index is None and event.block.isdecimal() and int(event.block) < plan.num_blocks:
            index = plan.block(int(event.block)).start
        lines.setdefault(index, {})[f"{worker}\t{encode(event).decode()}"] = None
    others = "\n".join(lines.pop(None, ()))
    texts: list[str | None] = [None] * len(plan)
    for index, of_shard in lines.items():
        texts[cast(int, index)] = "\n".join(of_shard)
    return pa.array(texts, pa.string()), others


class _Rows:
    """Collects a row for every finished attempt, and all other lines as they are.

    The rows are columns from the start: a million objects would take longer than all the rest.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tables = [row_schema().empty_table()]
        self._indexes = array("i")  # position of the shard in the plan; one a row, as the next
        self._attempts = array("i")
        self._early: dict[str, list[Event]] = {}  # of shards that the plan does not have
        self._others: _Told = []

    def restore(self, snapshot: Snapshot) -> None:
        """Begin with an older snapshot."""
        schema = row_schema()
        self._tables.append(snapshot.table.select(schema.names).cast(schema))
        self._indexes.extend(range(snapshot.table.num_rows))
        self._attempts.extend(snapshot.attempts())
        for worker, events in snapshot.events(Event):
            self.add(worker, events)

    def add(self, worker: str, events: Sequence[Event]) -> None:
        """Take in lines of one journal."""
        indexes = self._plan.indexes([event.shard for event in events])
        if None in indexes or any([event.event != "done" for event in events]):
            events, indexes = self._set_aside(worker, events, indexes)
        if events:
            self._tables.append(as_table([worker] * len(events), events))
            self._indexes.fromlist(cast(list[int], indexes))
            self._attempts.fromlist([event.attempt for event in events])

    def _set_aside(
        self, worker: str, events: Sequence[Event], indexes: list[int | None]
    ) -> tuple[list[Event], list[int | None]]:
        """Keep what makes no row, and give the rest."""
        rest = []
        for event, index in zip(events, indexes, strict=True):
            if event.event != "done":
                self._others.append((worker, event))
            elif index is None:
                self._early.setdefault(worker, []).append(event)
            else:
                rest.append((event, index))
        return [event for event, _ in rest], [index for _, index in rest]

    def add_early(self) -> None:
        """Take in what was read before its shard stood in the plan."""
        early, self._early = self._early, {}
        for worker, events in early.items():
            self.add(worker, events)

    def told(self) -> _Told:
        """All lines that are no row."""
        early = [(worker, event) for worker, events in self._early.items() for event in events]
        return [*self._others, *early]

    def table(self, state: RunState) -> Any:
        """All shards in plan order; `state`, a new one, becomes what all lines say."""
        import numpy as np
        import pyarrow as pa

        attempts, rows = self._latest()
        state.restore(array("i", attempts.tobytes()))
        state.apply([event for _, event in self.told()])
        done = np.frombuffer(state.attempts(), np.int32) > 0
        rows[~done] = -1
        self._add_failures(state, rows)
        codes = np.where(done, 0, 1).astype(np.int8)
        for index in state.plan.indexes(state.quarantined()):
            codes[index] = 2
        status = pa.DictionaryArray.from_arrays(codes, pa.array(_STATUSES)).cast(pa.string())
        table = pa.concat_tables(self._tables).take(pa.array(rows, mask=rows < 0))
        ids = pa.array(state.plan.ids, pa.string())
        return table.add_column(0, "shard", ids).add_column(1, "status", status)

    def _latest(self) -> tuple[Any, Any]:
        """The highest finished attempt of every shard, 0 for none, and its row."""
        import numpy as np

        indexes = np.frombuffer(self._indexes, np.int32)
        attempts = np.frombuffer(self._attempts, np.int32)
        order = np.argsort(attempts, kind="stable")
        latest = np.zeros(len(self._plan), np.int32)
        rows = np.full(len(self._plan), -1, np.int64)
        latest[indexes[order]] = attempts[order]
        rows[indexes[order]] = order
        return latest, rows

    def _add_failures(self, state: RunState, rows: Any) -> None:
        """Give shards that are not done the row of their last failure."""
        writers = {
            (e.shard, e.attempt): worker for worker, e in self._others if e.event == "failed"
        }
        last: _Told = []
        for shard_id in state.failures:
            index, failed = self._plan.index(shard_id), state.failed_attempts(shard_id)
            if index is not None and failed and not state.is_done(shard_id):
                event = cast(Event, failed[-1])
                rows[index] = len(self._attempts) + len(last)
                last.append((writers[shard_id, event.attempt], event))
        self._tables.append(as_table([worker for worker, _ in last], [event for _, event in last]))
