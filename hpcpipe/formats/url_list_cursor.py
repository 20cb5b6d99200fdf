"""A place among the rows of an open parquet list, from where reading goes on.

Pages are read and decoded as they are needed, so memory depends on their size and on
`BATCH_ROWS`, not on that of row groups.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source
from hpcpipe.formats.url_list_parquet import open_parquet

BATCH_ROWS = 1 << 12


class Cursor:
    """Rows of one list; it does not close the source."""

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        """Read the footer.

        Args:
            source: the list.
            names: columns to read.

        Raises:
            BadInputError: it has no such columns.
            pyarrow.ArrowException: it is not parquet.
            OSError: reading failed, or the file is damaged.
        """
        self._where = display(source.path)
        self._names = list(names)
        self._file = open_parquet(source)
        missing = set(names) - set(self._file.schema_arrow.names)
        if missing:
            raise BadInputError(f"{self._where} has no column {min(missing)!r} any more")
        metadata = self._file.metadata
        num_rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(num_rows, dtype=np.int64)])
        self._at = 0
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None

    def seek(self, first_row: int, num_rows: int) -> None:
        """Go to a range: on from here where it lies ahead in the same row group.

        Args:
            first_row: its first row.
            num_rows: its length.

        Returns:
            Nothing.

        Raises:
            BadInputError: the list has no such rows.
            pyarrow.ArrowException: the list is damaged.
            OSError: reading failed, or the list is damaged.
        """
        total = int(self._starts[-1])
        if first_row + num_rows > total:
            raise BadInputError(
                f"{self._where} has {total} rows, and no {num_rows} from row {first_row} on"
            )
        group = int(np.searchsorted(self._starts, first_row, "right")) - 1
        if self._batch is None or not self._starts[group] <= self._at <= first_row:
            self._at = int(self._starts[group])
            self._batches = self._from_group(group)
            self._batch = next(self._batches)
        while self._at < first_row:
            self.take(first_row - self._at)

    def take(self, most: int) -> Any:
        """Read on.

        Args:
            most: number of rows wanted.

        Returns:
            A ``pyarrow.RecordBatch`` of one to `most` rows, columns in the list's order.

        Raises:
            BadInputError: the list ends earlier than its footer says.
            pyarrow.ArrowException: the list is damaged.
            OSError: reading failed, or the list is damaged.
        """
        if not len(self._batch):
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise BadInputError(f"{self._where} ends at row {self._at}, before its footer says")
        taken = self._batch.slice(0, most)
        self._batch = self._batch.slice(len(taken))
        self._at += len(taken)
        return taken

    def _from_group(self, first: int) -> Iterator[Any]:
        for group in range(first, len(self._starts) - 1):
            yield from self._file.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=self._names, use_threads=False
            )
