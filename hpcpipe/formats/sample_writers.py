"""The samples of one download's shard, written in the format that was asked for.

One class a format, chosen in `SAMPLE_WRITERS`; the formats ``parquet`` and ``dummy`` have no files
of samples, since parquet's bytes stand in the table of rows. The same samples give the same bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from hpcpipe.formats.download_rows import (
    CAPTION,
    DownloadRow,
    OutputFormat,
    RowColumns,
    ShardFormat,
    to_json,
)
from hpcpipe.formats.file_extensions import UNKNOWN
from hpcpipe.formats.tar_write import add_file, end_of_archive
from hpcpipe.formats.tfrecord import ExampleEncoder, Framer
from hpcpipe.stage import Output

OpenOutput = Callable[[str], Output]
"""Opens an output by its name relative to the output folder."""


class SampleWriter(ABC):
    """Writes the samples of one shard."""

    def __init__(
        self, open_output: OpenOutput, shard: str, columns: RowColumns, shard_format: ShardFormat
    ) -> None:
        """Start a shard.

        Args:
            open_output: opens its files.
            shard: its name.
            columns: the columns of its rows.
            shard_format: how it is written.

        Raises:
            SetupError: a library is missing.
            OSError: a file cannot be created.
        """
        self._open_output = open_output
        self._shard = shard
        self._columns = columns
        self._format = shard_format
        self._output = self._open()

    def _open(self) -> Output | None:
        """Open the one file that all samples go to, where there is one."""
        return None

    @abstractmethod
    def add(self, row: DownloadRow, values: dict[str, Any], content: bytes) -> None:
        """Write a sample.

        Args:
            row: its row.
            values: the row's values by column.
            content: the file.

        Raises:
            OSError: writing failed.
        """

    def finish(self, num_samples: int) -> None:
        """Write what comes behind the last sample.

        Args:
            num_samples: how many were added.

        Raises:
            OSError: writing failed.
        """
        if self._output is not None:
            self._output.num_samples = num_samples

    def _members(
        self, row: DownloadRow, values: dict[str, Any], content: bytes
    ) -> list[tuple[str, bytes]]:
        """Names and contents of the files of a sample: its own, its caption, its row."""
        extension = self._format.extension or row.extension or UNKNOWN
        if extension == "json" or (extension == "txt" and self._columns.has_caption):
            extension = f"content.{extension}"
        members = [(f"{row.key}.{extension}", content)]
        if self._columns.has_caption:
            members.append((f"{row.key}.txt", _text(values[CAPTION])))
        return [*members, (f"{row.key}.json", to_json(values))]


class TarSamples(SampleWriter):
    """Writes ``SHARD.tar`` as webdataset reads it."""

    _output: Output

    def _open(self) -> Output:
        return self._open_output(f"{self._shard}.tar")

    def add(self, row: DownloadRow, values: dict[str, Any], content: bytes) -> None:
        """Write a sample's members. Raises OSError."""
        for name, data in self._members(row, values, content):
            add_file(self._output, name, data)

    def finish(self, num_samples: int) -> None:
        """End the archive. Raises OSError."""
        self._output.write(end_of_archive(self._output.tell()))
        super().finish(num_samples)


class FileSamples(SampleWriter):
    """Writes a folder ``SHARD`` of plain files."""

    def add(self, row: DownloadRow, values: dict[str, Any], content: bytes) -> None:
        """Write a sample's files. Raises OSError."""
        for name, data in self._members(row, values, content):
            output = self._open_output(f"{self._shard}/{name}")
            output.write(data)
            output.finish()


class TfrecordSamples(SampleWriter):
    """Writes ``SHARD.tfrecord``; features are named as img2dataset names them."""

    _output: Output

    def _open(self) -> Output:
        self._framer = Framer()
        self._encoder = ExampleEncoder(self._columns.schema)
        return self._open_output(f"{self._shard}.tfrecord")

    def add(self, row: DownloadRow, values: dict[str, Any], content: bytes) -> None:
        """Write a sample as a record. Raises OSError."""
        blobs = {self._format.content_name: content}
        if self._columns.has_caption:
            blobs["txt"] = _text(values[CAPTION])
        for piece in self._framer.frame(self._encoder.encode(values, blobs)):
            self._output.write(piece)


class NoSamples(SampleWriter):
    """Writes no files of samples."""

    def add(self, row: DownloadRow, values: dict[str, Any], content: bytes) -> None:
        """Write nothing. Raises nothing."""


SAMPLE_WRITERS: dict[OutputFormat, type[SampleWriter]] = {
    "webdataset": TarSamples,
    "files": FileSamples,
    "parquet": NoSamples,
    "tfrecord": TfrecordSamples,
    "dummy": NoSamples,
}


def _text(caption: object) -> bytes:
    return b"" if caption is None else str(caption).encode("utf-8", "replace")
