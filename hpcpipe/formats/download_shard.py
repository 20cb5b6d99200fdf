"""All files of one download's shard: its samples, the table of its rows, its statistics."""

import time
from typing import Any

from hpcpipe.formats.download_rows import DownloadRow, RowColumns, ShardFormat
from hpcpipe.formats.download_stats import DownloadStats
from hpcpipe.formats.download_table import DownloadTable
from hpcpipe.formats.sample_writers import SAMPLE_WRITERS, OpenOutput


class DownloadShard:
    """Writes one shard; a context manager that ends the files where no error did.

    Attributes:
        stats: the counts so far.
    """

    def __init__(
        self, open_output: OpenOutput, shard: str, listed: Any, shard_format: ShardFormat
    ) -> None:
        """Start a shard.

        Args:
            open_output: opens its files by name.
            shard: its name, which its files' names begin with.
            listed: ``pyarrow.Schema`` of the list's rows.
            shard_format: how it is written.

        Raises:
            ConfigError: the list has a column of a name that is ours.
            SetupError: a library is missing.
            OSError: a file cannot be created.
        """
        self.stats = DownloadStats(time.time(), images=shard_format.images)
        self._open_output = open_output
        self._shard = shard
        self._columns = RowColumns(listed, shard_format)
        writer = SAMPLE_WRITERS[shard_format.output_format]
        self._samples = writer(open_output, shard, self._columns, shard_format)
        self._table_output = open_output(f"{shard}.parquet")
        self._table_has_samples = shard_format.output_format == "parquet"
        content_name = shard_format.content_name if self._table_has_samples else None
        self._table = DownloadTable(self._table_output, self._columns.schema, content_name)

    def add(self, row: DownloadRow, content: bytes | None) -> None:
        """Write what became of one URL.

        Args:
            row: its row.
            content: the file, with a row whose status is success; None with any other.

        Raises:
            OSError: writing failed.
        """
        values = self._columns.values(row)
        if content is not None:
            self._samples.add(row, values, content)
        self._table.add(values, content)
        self.stats.add(row)

    def __enter__(self) -> "DownloadShard":
        self._table.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        self._table.__exit__(kind, *exc)
        if kind is None:
            self._samples.finish(self.stats.successes)
            if self._table_has_samples:
                self._table_output.num_samples = self.stats.successes
            stats = self._open_output(f"{self._shard}_stats.json")
            stats.write(self.stats.to_json(time.time()))
