"""The parquet file of a download's shard: a row for every URL, written in small row groups.

Of what is written, only the failures are read again here.
"""

from collections.abc import Collection
from typing import Any

from hpcpipe.formats.download_rows import to_json
from hpcpipe.formats.parquet_sink import ParquetSink
from hpcpipe.formats.source import open_source
from hpcpipe.formats.url_list_parquet import open_parquet, parquet_errors
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
        self._num_bytes += len(to_json(values))  # as Arrow, about; quicker than to add it up
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


def read_failed(path: str, error_classes: Collection[str]) -> Any:
    """Find the rows that failed in some ways, reading two columns.

    Args:
        path: path or URL of a shard's table.
        error_classes: the ways, as ``error_class`` has them.

    Returns:
        ``pyarrow.Table`` of their ``key`` and ``error_class``, in ascending order of keys.

    Raises:
        BadInputError: the table is missing or damaged.
        OutageError: a remote store is down.
        TransientShardError: the store failed otherwise.
        OSError: reading failed.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(error_classes, pa.string())
    columns = ["key", "error_class"]
    found = pa.table([pa.array([], pa.string())] * 2, columns)
    with open_source(path) as source, parquet_errors(path):
        for batch in open_parquet(source).iter_batches(columns=columns, use_threads=False):
            rows = pa.table(batch.select(columns).columns, columns)
            failed = rows.filter(pc.is_in(rows["error_class"], wanted))
            found = pa.concat_tables([found, failed])
    return found.sort_by("key").combine_chunks()
