"""Lists of URLs as text: txt, csv, tsv, json and jsonl, plain or compressed, as batches of columns.

Streams them: memory depends on the longest row, not on the list. Does not write anything.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any

from hpcpipe.errors import PlanError, ShardError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import FREE_GZIP_BYTES, MAX_GZIP_RATIO, open_source
from hpcpipe.formats.source_file import SourceFile
from hpcpipe.formats.url_list_columns import UrlColumns, batch_of_text
from hpcpipe.formats.url_list_json import read_json, read_jsonl
from hpcpipe.formats.url_list_lines import line_blocks, not_utf8

BLOCK_BYTES = 2 << 20
_CODECS = {"gz": "gzip", "zst": "zstd"}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def read_text_list(path: str, list_format: str, columns: UrlColumns) -> Iterator[Any]:
    """Read a list in batches.

    Args:
        path: local path or URL; what ends in ``.gz`` or ``.zst`` is decompressed.
        list_format: ``txt``, ``csv``, ``tsv``, ``json`` or ``jsonl``.
        columns: the columns wanted.

    Yields:
        ``pyarrow.RecordBatch`` with text columns that have the list's names.

    Raises:
        PlanError: the list cannot be read, is malformed, or lacks a column.
        OutageError: a remote store is down.
        OSError: reading failed.
    """
    where = display(path)
    if list_format in _DELIMITERS:
        delimiter = _DELIMITERS[list_format]
        with _opened(path) as stream:
            columns.check(where, _csv_names(where, stream, delimiter))
        with _opened(path) as stream:
            yield from _read_csv(where, stream, delimiter, columns)
        return
    with _opened(path) as stream:
        if list_format == "json":
            yield from read_json(where, stream, columns)
        elif list_format == "jsonl":
            yield from read_jsonl(where, stream, columns)
        else:
            columns.check(f"{where}, a list of one URL a line,", [columns.url])
            yield from _read_txt(where, stream, columns)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    import pyarrow as pa

    codec = _CODECS.get(path.rpartition(".")[2].lower())
    try:
        with open_source(path) as source:
            raw: Any = SourceFile(source)
            if codec and source.size_bytes:
                limit_bytes = max(FREE_GZIP_BYTES, MAX_GZIP_RATIO * source.size_bytes)
                raw = _Unpacked(pa.CompressedInputStream(raw, codec), path, codec, limit_bytes)
            with io.BufferedReader(raw, BLOCK_BYTES) as stream:
                yield stream
    except ShardError as error:
        raise PlanError(f"the list cannot be read: {error}") from error


class _Unpacked(io.RawIOBase):
    """A decompressed stream whose errors say what is wrong with which file."""

    def __init__(self, stream: Any, path: str, codec: str, limit_bytes: int) -> None:
        self._stream = stream
        self._where = display(path)
        self._codec = codec
        self._left_bytes = limit_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            num_bytes = int(self._stream.readinto(buffer))
        except OSError as error:
            if error.errno is not None:
                raise
            raise PlanError(f"{self._where} is not a sound {self._codec} file: {error}") from error
        self._left_bytes -= num_bytes
        if self._left_bytes < 0:
            raise PlanError(
                f"{self._where} decompresses to over {MAX_GZIP_RATIO} times its size: refused as a "
                "decompression bomb; decompress it yourself if it is none"
            )
        return num_bytes


def _read_txt(where: str, stream: IO[bytes], columns: UrlColumns) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for first_line, block in line_blocks(where, stream):
        try:
            text = pa.array([block], pa.binary()).cast(pa.string())
        except pa.ArrowInvalid as error:
            raise not_utf8(where, first_line, block) from error
        lines = pc.ascii_trim_whitespace(pc.split_pattern(text, "\n").flatten())
        urls = lines.filter(pc.greater(pc.binary_length(lines), 0))
        if len(urls):
            yield batch_of_text(columns, [urls])


def _csv_names(where: str, stream: IO[bytes], delimiter: str) -> list[str]:
    with _csv_errors(where):
        names: list[str] = _open_csv(stream, delimiter, []).schema.names
    return names


def _read_csv(where: str, stream: IO[bytes], delimiter: str, columns: UrlColumns) -> Iterator[Any]:
    with _csv_errors(where):
        for batch in _open_csv(stream, delimiter, list(columns.source_names)):
            if len(batch):
                yield batch


def _open_csv(stream: IO[bytes], delimiter: str, names: list[str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    return csv.open_csv(
        stream,
        csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string())),
    )


@contextlib.contextmanager
def _csv_errors(where: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        advice = ""
        if "straddling" in str(error):
            advice = f"; a row seems longer than {BLOCK_BYTES >> 20} MB: is a quote left open?"
        raise PlanError(f"{where}: {error}{advice}") from error
