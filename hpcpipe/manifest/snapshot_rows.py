"""The snapshot's columns, made of journal lines."""

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


def as_table(told: list[tuple[str, Event]]) -> Any:
    """Make rows of journal lines.

    Args:
        told: workers and what they wrote.

    Returns:
        An Arrow table of `row_schema`, one row a line.

    Raises:
        Nothing.
    """
    import pyarrow as pa

    schema, events = row_schema(), [event for _, event in told]
    columns: dict[str, list[Any]] = {
        "attempt": [event.attempt for event in events],
        "worker": [worker for worker, _ in told],
        "host": [event.host for event in events],
        "ended_at": [event.at for event in events],
        "seconds": [event.seconds for event in events],
        "num_samples": [event.num_samples for event in events],
        "bytes_in": [event.bytes_in for event in events],
        "bytes_out": [sum([file.size_bytes for file in event.outputs]) for event in events],
        "error_class": [event.error_class or None for event in events],
        "error": [event.error or None for event in events],
    }
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    return pa.Table.from_arrays([*arrays, _stats(events), _outputs(events)], schema=schema)


def _stats(events: list[Event]) -> Any:
    import pyarrow as pa

    keys = list(chain.from_iterable([event.stats.keys() for event in events]))
    values = list(map(float, chain.from_iterable([event.stats.values() for event in events])))
    offsets = list(accumulate([len(event.stats) for event in events], initial=0))
    return pa.MapArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array(keys, pa.string()), pa.array(values, pa.float64())
    )


def _outputs(events: list[Event]) -> Any:
    import pyarrow as pa

    kind = row_schema().field("outputs").type
    files = list(chain.from_iterable([event.outputs for event in events]))
    columns: dict[str, list[Any]] = {
        "path": [file.path for file in files],
        "size_bytes": [file.size_bytes for file in files],
        "checksum": [file.checksum for file in files],
        "num_samples": [file.num_samples for file in files],
    }
    fields = list(kind.value_type)
    arrays = [pa.array(columns[field.name], field.type) for field in fields]
    offsets = list(accumulate([len(event.outputs) for event in events], initial=0))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(arrays, fields=fields), type=kind
    )
