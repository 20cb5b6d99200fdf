"""The parquet file of a download's shard: a row for every URL, written in small row groups."""

from typing import Any

from hpcpipe.formats.parquet_sink import ParquetSink
from hpcpipe.stage import Output

GROUP_ROWS = 10_000
GROUP_BYTES = 16 << 20
"""A row group ends at either; twice the bytes are in memory while it is written."""


class DownloadTable:
    """Writes rows a row group at a time; a context manager."""

    def __init__(self, output: Output, schema: Any, content_name: str | None) -> None:
        """Start the file.

        Args:
            output: where it goes.
            schema: ``pyarrow.Schema`` of the rows.
            content_name: name of a further column for the samples' bytes; None for no such column.

        Raises:
            OSError: writing failed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._has_content = content_name is not None
        settings: dict[str, Any] = {"compression": "zstd"}
        if content_name is not None:
            names = list(schema.names)
            schema = schema.append(pa.field(content_name, pa.binary()))
            compression = {**dict.fromkeys(names, "zstd"), content_name: "none"}
            settings = {"compression": compression, "use_dictionary": names}
        self._schema = schema
        self._writer = pq.ParquetWriter(ParquetSink(output), schema, **settings)
        self._rows: list[tuple[Any, ...]] = []
        self._num_bytes = 0

    def add(self, values: dict[str, Any], content: bytes | None) -> None:
        """Add a row.

        Args:
            values: its values by column, in the schema's order.
            content: the sample's bytes; None for a failure.

        Raises:
            OSError: writing failed.
        """
        self._num_bytes += sum(map(_num_bytes, values.values()))
        if self._has_content:
            self._rows.append((*values.values(), content))
            self._num_bytes += len(content or b"")
        else:
            self._rows.append(tuple(values.values()))
        if len(self._rows) == GROUP_ROWS or self._num_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True)
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._rows.clear()
        self._num_bytes = 0
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def __enter__(self) -> "DownloadTable":
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None and self._rows:
                self._flush()
        finally:
            self._writer.close()


def _num_bytes(value: Any) -> int:
    """About how much memory a value takes as Arrow."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_num_bytes, value))
    return sum(map(_num_bytes, value.values())) if isinstance(value, dict) else 8
