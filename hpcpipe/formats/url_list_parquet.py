"""Parquet lists of URLs: opening them, and what their footers say. Reads no rows."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hpcpipe.errors import BadInputError, PlanError, ShardError, is_environment_error
from hpcpipe.formats.remote import display, is_remote
from hpcpipe.formats.remote_source import KeepBehind
from hpcpipe.formats.source import Source, open_source
from hpcpipe.formats.source_file import SourceFile
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.stage import Input

BUFFER_BYTES = 1 << 20
_TEXT_TYPES = frozenset(
    {
        *("string", "large_string", "string_view"),
        *("binary", "large_binary", "binary_view"),  # text that its writer did not mark as such
    }
)
_NUM_THREADS = 8
_WINDOW = 64


def count_rows(inputs: Sequence[Input], columns: UrlColumns) -> Iterator[int]:
    """Read the footers of lists, and check that they have the columns.

    Args:
        inputs: parquet files.
        columns: the columns wanted.

    Yields:
        The number of rows of each, in order.

    Raises:
        PlanError: a file cannot be read, is not parquet, or lacks a column.
        OutageError: a remote store is down.
        OSError: reading failed.
    """
    with ThreadPoolExecutor(_NUM_THREADS, "hpcpipe-footers") as pool:
        for start in range(0, len(inputs), _WINDOW):
            window = inputs[start : start + _WINDOW]
            yield from pool.map(_count, window, [columns] * len(window))


def num_rows_of(path: Path) -> int:
    """Read the number of rows of a converted list.

    Args:
        path: the parquet file.

    Returns:
        The number.

    Raises:
        PlanError: it is damaged.
        OSError: reading failed.
    """
    import pyarrow.parquet as pq

    try:
        with parquet_errors(str(path)):
            return int(pq.read_metadata(path).num_rows)
    except ShardError as error:
        raise PlanError(f"{error}. Remove it, and it is made again") from error


def _count(item: Input, columns: UrlColumns) -> int:
    where = display(item.path)
    try:
        with open_source(item.path) as source, parquet_errors(item.path):
            file = open_parquet(source)
            schema = file.schema_arrow
            columns.check(where, schema.names)
            for name in (columns.url, columns.caption):
                if name is not None:
                    _check_text(where, schema.field(name))
            return int(file.metadata.num_rows)
    except ShardError as error:
        raise PlanError(f"the list cannot be read: {error}") from error


def _check_text(where: str, field: Any) -> None:
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if str(kind) not in _TEXT_TYPES:
        raise PlanError(f"{where}: column {field.name!r} is {field.type}, and should be text")


def open_parquet(source: Source) -> Any:
    """Open a parquet file so that its rows are read piece by piece.

    Args:
        source: the file.

    Returns:
        A ``pyarrow.parquet.ParquetFile``.

    Raises:
        pyarrow.ArrowException: it is not parquet.
        OSError: reading failed, or the file is damaged.
    """
    import pyarrow.parquet as pq

    kept = KeepBehind(source) if is_remote(source.path) else source
    return pq.ParquetFile(SourceFile(kept), buffer_size=BUFFER_BYTES, pre_buffer=False)


@contextlib.contextmanager
def parquet_errors(path: str) -> Iterator[None]:
    """Turn errors of the parquet reader into ours.

    Args:
        path: the file, for messages.

    Raises:
        BadInputError: it is damaged, or not parquet.
        OSError: reading failed.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if is_environment_error(error) or getattr(error, "errno", None) is not None:
            raise
        raise BadInputError(f"{display(path)} is not a sound parquet file: {error}") from error
