"""Writing a list of URLs that is text as parquet, so that workers can begin at any range."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcpipe.errors import naming
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_text import read_text_list
from hpcpipe.stage import Input

MIN_GROUP_ROWS = 1 << 13
MAX_GROUP_ROWS = 1 << 14


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
    import pyarrow.parquet as pq

    if not file.size_bytes:
        return 0
    schema = pa.schema([(name, pa.string()) for name in columns.source_names])
    batches = read_text_list(file.path, list_format, columns)
    num_rows = 0
    try:
        # URLs hardly repeat, and nobody asks for their extremes.
        options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
        with pq.ParquetWriter(str(dest), schema, **options) as writer:
            for group in _groups(batches, schema, rows_per_range):
                writer.write_table(group, row_group_size=len(group))
                num_rows += len(group)
    except OSError as error:
        naming(error, dest)
        raise
    if not num_rows:
        dest.unlink()
    return num_rows


def _groups(batches: Iterator[Any], schema: Any, rows_per_range: int) -> Iterator[Any]:
    """Tables of the size of row groups, which end where ranges do whenever they can."""
    import pyarrow as pa

    span = rows_per_range * max(1, MIN_GROUP_ROWS // rows_per_range)
    left = span
    held = schema.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch], schema)])
        while len(held) >= (size := min(left, MAX_GROUP_ROWS)):
            yield held.slice(0, size)
            held = held.slice(size)
            left = left - size or span
    if len(held):
        yield held
