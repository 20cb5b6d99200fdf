"""The snapshot's columns, made of journal lines."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

from hpcpipe.manifest.journal import Event


def row_schema() -> Any:
    """Columns that one journal line says all of.

    Returns:
        The Arrow schema.

    Raises:
        Nothing.
    """
    import pyarrow as pa

    output = pa.struct(
        [
            ("path", pa.string()),
            ("size_bytes", pa.int64()),
            ("checksum", pa.string()),
            ("num_samples", pa.int64()),
        ]
    )
    return pa.schema(
        [
            ("attempt", pa.int32()),
            ("worker", pa.string()),
            ("host", pa.string()),
            ("ended_at", pa.float64()),
            ("seconds", pa.float64()),
            ("num_samples", pa.int64()),
            ("bytes_in", pa.int64()),
            ("bytes_out", pa.int64()),
            ("error_class", pa.string()),
            ("error", pa.string()),
            ("stats", pa.map_(pa.string(), pa.float64())),
            ("outputs", pa.list_(pa.field("element", output))),
        ]
    )


def as_table(workers: Sequence[str], events: Sequence[Event]) -> Any:
    """Make rows of journal lines.

    Args:
        workers: names of those who wrote them.
        events: the lines.

    Returns:
        An Arrow table of `row_schema`, one row a line.

    Raises:
        Nothing.
    """
    import pyarrow as pa

    schema, outputs = row_schema(), _outputs(events)
    columns: dict[str, Sequence[Any]] = {
        "attempt": [event.attempt for event in events],
        "worker": workers,
        "host": [event.host for event in events],
        "ended_at": [event.at for event in events],
        "seconds": [event.seconds for event in events],
        "num_samples": [event.num_samples for event in events],
        "bytes_in": [event.bytes_in for event in events],
        "bytes_out": _bytes_out(outputs),
        "error_class": [event.error_class or None for event in events],
        "error": [event.error or None for event in events],
    }
    arrays = [_column(values, schema.field(name).type) for name, values in columns.items()]
    return pa.Table.from_arrays([*arrays, _stats(events), outputs], schema=schema)


def _column(values: Sequence[Any], kind: Any) -> Any:
    import pyarrow as pa

    first = values[0] if values else None
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, kind), len(values))  # as many columns are
    return pa.array(values, kind)


def _stats(events: Sequence[Event]) -> Any:
    import numpy as np
    import pyarrow as pa

    stats = [event.stats for event in events]
    keys = list(chain.from_iterable(stats))
    values = list(chain.from_iterable(map(dict.values, stats)))
    offsets = list(accumulate(map(len, stats), initial=0))
    return pa.MapArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.array(keys, pa.string()),
        pa.array(np.array(values, np.float64)),
    )


def _outputs(events: Sequence[Event]) -> Any:
    import pyarrow as pa

    kind = row_schema().field("outputs").type
    outputs = [event.outputs for event in events]
    files = list(chain.from_iterable(outputs))
    columns: dict[str, list[Any]] = {
        "path": [file.path for file in files],
        "size_bytes": [file.size_bytes for file in files],
        "checksum": [file.checksum for file in files],
        "num_samples": [file.num_samples for file in files],
    }
    fields = list(kind.value_type)
    arrays = [_column(columns[field.name], field.type) for field in fields]
    offsets = list(accumulate(map(len, outputs), initial=0))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(arrays, fields=fields), type=kind
    )


def _bytes_out(outputs: Any) -> list[int]:
    """Sums of the outputs' sizes."""
    import numpy as np

    sizes = outputs.values.field("size_bytes").to_numpy()
    sums = np.concatenate(([0], np.cumsum(sizes)))
    return list(np.diff(sums[outputs.offsets.to_numpy()]).tolist())
