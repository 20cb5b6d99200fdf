"""Writing a list of URLs that is text as parquet, so that workers can begin at any range."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcpipe.errors import naming
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_text import read_text_list
from hpcpipe.stage import Input

MIN_GROUP_ROWS = 1 << 13
MAX_GROUP_ROWS = 1 << 14
MAX_GROUP_BYTES = 64 << 20
"""Of rows with long captions fewer make a group: it is held while it is written, and read."""


def convert_list(
    file: Input, list_format: str, columns: UrlColumns, rows_per_range: int, dest: Path
) -> int:
    """Convert one list, streaming.

    Args:
        file: the list.
        list_format: ``txt``, ``csv``, ``tsv``, ``json`` or ``jsonl``.
        columns: the columns wanted; nothing else is kept.
        rows_per_range: a row group begins where every so many rows, or a multiple, end.
        dest: parquet file to write; there is none where the list has no rows.

    Returns:
        The number of rows.

    Raises:
        PlanError: the list cannot be read, is malformed, or lacks a column.
        OutageError: a remote store is down.
        OSError: reading or writing failed.
    """
    import pyarrow as pa

    if not file.size_bytes:
        return 0
    schema = pa.schema([(name, pa.string()) for name in columns.source_names])
    with ListWriter(dest, schema, rows_per_range) as writer:
        for batch in read_text_list(file.path, list_format, columns):
            writer.write(batch)
    if not writer.num_rows:
        dest.unlink()
    return writer.num_rows


class ListWriter:
    """Writes rows as a parquet list, row groups of which end where ranges do; a context manager.

    Attributes:
        num_rows: rows so far.
    """

    def __init__(self, dest: Path, schema: Any, rows_per_range: int) -> None:
        """Start the file.

        Args:
            dest: where it goes.
            schema: ``pyarrow.Schema`` of the rows.
            rows_per_range: a row group begins where every so many rows, or a multiple, end.

        Raises:
            OSError: it cannot be created.
        """
        import pyarrow.parquet as pq

        self.num_rows = 0
        self._dest = dest
        self._schema = schema
        self._span = rows_per_range * max(1, MIN_GROUP_ROWS // rows_per_range)
        self._left = self._span
        self._held = schema.empty_table()
        # URLs hardly repeat, and nobody asks for their extremes.
        options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
        with self._named():
            self._writer = pq.ParquetWriter(str(dest), schema, **options)

    def write(self, batch: Any) -> None:
        """Add rows.

        Args:
            batch: a ``pyarrow.RecordBatch`` of the schema.

        Raises:
            OSError: writing failed.
        """
        import pyarrow as pa

        self._held = pa.concat_tables([self._held, pa.Table.from_batches([batch], self._schema)])
        self.num_rows += len(batch)
        while len(self._held) >= (size := min(self._left, MAX_GROUP_ROWS)):
            self._flush(size)
        if self._held.nbytes >= MAX_GROUP_BYTES:
            self._flush(len(self._held))

    def _flush(self, num_rows: int) -> None:
        with self._named():
            self._writer.write_table(self._held.slice(0, num_rows), row_group_size=num_rows)
        self._held = self._held.slice(num_rows)
        self._left = self._left - num_rows or self._span

    def __enter__(self) -> "ListWriter":
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            if kind is None and len(self._held):
                self._flush(len(self._held))
        finally:
            with self._named():
                self._writer.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            naming(error, self._dest)
            raise
