"""Reading ranges of rows from a parquet list of URLs, going on where the last range ended.

A range is reached by skipping row groups. Where these are larger than ranges, what lies before it
in its group has to be decoded; not so if the reader stands there already, as it does in a worker
that takes ranges in order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source, open_source
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_cursor import Cursor
from hpcpipe.formats.url_list_parquet import parquet_errors
from hpcpipe.stage import Input


def list_file(
    inputs: Sequence[Input], meta: Mapping[str, Any], artifact: Callable[[str], Path]
) -> Input:
    """Say which file a planned range is to be read from.

    Args:
        inputs: `url_list.UrlRange.inputs` of the range.
        meta: its `url_list.UrlRange.meta`.
        artifact: gives the path of an artifact of the plan.

    Returns:
        The list itself, or the artifact.

    Raises:
        ConfigError: the artifact's name is none.
    """
    return Input(str(artifact(meta["artifact"])), 0) if "artifact" in meta else inputs[0]


class UrlReader:
    """Reads ranges of lists, keeping the last list open; a context manager for one thread."""

    def __init__(self, columns: UrlColumns) -> None:
        """Open nothing yet.

        Args:
            columns: the columns wanted.

        Raises:
            Nothing.
        """
        self._columns = columns
        self._opened: tuple[Input, Source, Cursor] | None = None
        self._closed_bytes = 0

    @property
    def num_read(self) -> int:
        """Bytes read from files and stores so far. Raises nothing."""
        return self._closed_bytes + (self._opened[1].num_read if self._opened else 0)

    def read(self, file: Input, first_row: int, num_rows: int) -> Iterator[Any]:
        """Read a range.

        Args:
            file: a parquet list, see `list_file`.
            first_row: number of the first row, from 0.
            num_rows: how many.

        Yields:
            ``pyarrow.RecordBatch`` of at most `url_list_cursor.BATCH_ROWS` rows: ``url`` and
            ``caption`` as strings, and the additional columns in the types they have, dictionaries
            resolved. In strings what is no UTF-8 is replaced.

        Raises:
            BadInputError: the file is missing, damaged, or has no such rows or columns.
            OutageError: a remote store is down.
            TransientShardError: the store failed otherwise.
            OSError: reading failed.
        """
        try:
            with parquet_errors(file.path):
                cursor = self._cursor(file)
                cursor.seek(first_row, num_rows)
                while num_rows:
                    batch = cursor.take(num_rows)
                    num_rows -= len(batch)
                    yield self._converted(file, batch)
        except Exception:
            self.close()
            raise

    def _cursor(self, file: Input) -> Cursor:
        if self._opened is None or self._opened[0] != file:
            self.close()
            source = open_source(file.path)
            try:
                self._opened = file, source, Cursor(source, self._columns.source_names)
            except BaseException:
                source.close()
                raise
        return self._opened[2]

    def _converted(self, file: Input, batch: Any) -> Any:
        import pyarrow as pa

        arrays = []
        num_text = len(self._columns.names) - len(self._columns.additional)
        for index, name in enumerate(self._columns.source_names):
            array = batch.column(name)
            if pa.types.is_dictionary(array.type):
                array = array.dictionary_decode()
            if index < num_text or str(array.type) in ("string", "large_string", "string_view"):
                kind = pa.string() if index < num_text else array.type
                array = _sound_text(array, kind)
            elif pa.types.is_nested(array.type):
                _check_nested(file, name, array)
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=list(self._columns.names))

    def close(self) -> None:
        """Close the list. Raises OSError."""
        if self._opened is not None:
            source = self._opened[1]
            self._closed_bytes += source.num_read
            self._opened = None
            source.close()

    def __enter__(self) -> "UrlReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _sound_text(array: Any, kind: Any) -> Any:
    import pyarrow as pa

    try:
        text = array.cast(kind)
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = array.cast(pa.large_binary()).to_pylist()
        decoded = [None if value is None else value.decode(errors="replace") for value in values]
        return pa.array(decoded, kind)
    return text


def _check_nested(file: Input, name: str, array: Any) -> None:
    import pyarrow as pa

    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BadInputError(f"{display(file.path)}, column {name!r}: {error}") from error
