"""Lists of URLs in json (one list of objects) and jsonl (an object a line), as batches of text.

Strings stay as they are; other values become their JSON text, null and what is missing null.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec

from hpcpipe.errors import PlanError
from hpcpipe.formats.json_keys import JsonKeysError, iter_json_objects
from hpcpipe.formats.url_list_columns import UrlColumns, batch_of_text
from hpcpipe.formats.url_list_lines import line_blocks

BATCH_NUM = 1 << 13
_encode = json.JSONEncoder(ensure_ascii=False).encode


def read_json(where: str, stream: IO[bytes], columns: UrlColumns) -> Iterator[Any]:
    """Read one list of objects.

    Args:
        where: the file, for messages.
        stream: UTF-8 text.
        columns: the columns wanted.

    Yields:
        ``pyarrow.RecordBatch`` of text columns.

    Raises:
        PlanError: it is malformed, or no object of the first batch has a column.
        OSError: reading failed.
    """
    objects = iter_json_objects(stream)
    num_rows = 0
    try:
        while rows := list(itertools.islice(objects, BATCH_NUM)):
            yield _batch(f"{where}, entries from {num_rows + 1} on", rows, columns, not num_rows)
            num_rows += len(rows)
    except JsonKeysError as error:
        raise PlanError(f"{where}: {error}") from error


def read_jsonl(where: str, stream: IO[bytes], columns: UrlColumns) -> Iterator[Any]:
    """Read an object a line; blank lines do not count.

    Args:
        where: the file, for messages.
        stream: UTF-8 text.
        columns: the columns wanted.

    Yields:
        ``pyarrow.RecordBatch`` of text columns.

    Raises:
        PlanError: a line is malformed, or no object of the first batch has a column.
        OSError: reading failed.
    """
    decoder = msgspec.json.Decoder(dict[str, Any])
    is_first = True
    for first_line, block in line_blocks(where, stream):
        try:
            rows = decoder.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = list(_objects(where, first_line, block))
        if rows:
            yield _batch(f"{where}, lines from {first_line} on", rows, columns, is_first)
            is_first = False


def _objects(where: str, first_line: int, block: bytes) -> Iterator[dict[str, Any]]:
    """What the fast decoder refused: json as Python writes it (``NaN``), or a line at fault."""
    for number, line in enumerate(block.split(b"\n"), first_line):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise PlanError(f"{where}, line {number}: not valid json: {error}") from error
            if not isinstance(row, dict):
                raise PlanError(
                    f"{where}, line {number}: expected an object, found {type(row).__name__}"
                )
            yield row


def _batch(where: str, rows: Sequence[dict[str, Any]], columns: UrlColumns, is_first: bool) -> Any:
    if is_first:
        columns.check(where, list(dict.fromkeys(name for row in rows for name in row)))
    values = [[_text(row.get(name)) for row in rows] for name in columns.source_names]
    try:
        return batch_of_text(columns, values)
    except UnicodeEncodeError as error:
        raise PlanError(f"{where}: a string is no Unicode text: {error}") from error


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value) if type(value) is int else _encode(value)  # True is an int to isinstance
