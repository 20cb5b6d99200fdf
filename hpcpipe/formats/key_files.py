"""Reading lists of keys or uids from the files people have them in, in batches.

Knows text, json, jsonl, parquet and npy, by a file's ending; does not say what is done with them.
"""

import contextlib
import gzip
import itertools
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, Literal, cast

import msgspec
import numpy as np

from hpcpipe.errors import PlanError, ShardError
from hpcpipe.formats.ids import CHUNK_NUM, ID_DTYPE, Array
from hpcpipe.formats.json_keys import JsonKeysError, iter_json_keys
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.formats.remote_errors import remote_errors

BATCH_NUM = 1 << 16
_PAIR_KINDS = {("u", 8), ("i", 8)}
_AFTER_KEY = re.compile(r"^((?:.*/)?[^./]+)\.[^/]*$", re.DOTALL)


def guess_field(path: str) -> Literal["key", "uid"]:
    """Tell what a list holds when nobody said.

    Args:
        path: the list.

    Returns:
        ``uid`` for npy pairs of numbers, and for a parquet with a column ``uid`` and none ``key``.

    Raises:
        PlanError: the file is malformed.
        OSError: it cannot be read.
    """
    with _opened(path) as stream:
        if path.endswith(".npy"):
            return "uid" if _is_pairs(_npy_header(path, stream)[1]) else "key"
        if path.endswith(".parquet"):
            names = _parquet(path, stream).schema_arrow.names
            return "uid" if "uid" in names and "key" not in names else "key"
    return "key"


def read_list(path: str, field: str) -> Iterator[list[str] | Array]:
    """Read a list in batches.

    Args:
        path: local path or URL.
        field: the column, or field of an object, that holds the entry; ``key`` entries lose
            what follows the key in a file name.

    Yields:
        Strings, or ids (`ids.ID_DTYPE`) where the file holds numbers.

    Raises:
        PlanError: the file is malformed, has no such column, or may not be read.
        OSError: reading failed.
    """
    with _opened(path) as stream:
        name = path.removesuffix(".gz")
        if name.endswith(".npy"):
            yield from _read_npy(path, stream, field)
            return
        if name.endswith(".parquet"):
            entries = _read_parquet(path, stream, field)
        elif name.endswith(".json"):
            entries = _read_json(path, stream)
        elif name.endswith((".jsonl", ".ndjson")):
            entries = _read_jsonl(path, stream, field)
        else:
            entries = (line.decode("utf-8", "surrogateescape").strip() for line in stream)
        if field == "key":
            entries = (_AFTER_KEY.sub(r"\1", entry) if "." in entry else entry for entry in entries)
        while batch := list(itertools.islice(entries, BATCH_NUM)):
            if kept := [entry for entry in batch if entry]:
                yield kept


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    where = display(path)
    errors = remote_errors(path) if is_remote(path) else contextlib.nullcontext()
    try:
        with errors, _open_raw(path) as raw:
            try:
                yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise PlanError(f"{where} is not a sound gzip file: {error}") from error
    except (ShardError, FileNotFoundError, PermissionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlanError(f"the list {where} cannot be read: {reason}") from error


def _open_raw(path: str) -> IO[bytes]:
    if not is_remote(path):
        return open(path, "rb")
    fs, name = filesystem(path)
    stream: IO[bytes] = fs.open(name, "rb")
    return stream


def _read_json(path: str, stream: IO[bytes]) -> Iterator[str]:
    try:
        yield from iter_json_keys(stream)
    except JsonKeysError as error:
        raise PlanError(f"{display(path)}: {error}") from error


def _read_jsonl(path: str, stream: IO[bytes], field: str) -> Iterator[str]:
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            entry = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlanError(f"{display(path)}, line {number}: not valid json: {error}") from error
        if isinstance(entry, dict):
            if field not in entry:
                where = f"{display(path)}, line {number}: no"
                raise _missing(where, "field", field, list(map(str, entry)))
            entry = entry[field]
        if not isinstance(entry, str):
            raise PlanError(
                f"{display(path)}, line {number}: expected a string, or an object with a string "
                f"{field!r}, not {type(entry).__name__}"
            )
        yield entry


def _missing(where: str, what: str, field: str, names: list[str]) -> PlanError:
    other = "uid" if field == "key" else "key"
    advice = (
        f"set stage.keep_field={other}"
        if other in names
        else f"name the {what} key or uid (stage.keep_field)"
    )
    return PlanError(f"{where} {what} {field!r}; it has {', '.join(names) or 'none'}: {advice}")


def _parquet(path: str, stream: IO[bytes]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(stream, buffer_size=1 << 20)
    except pa.ArrowInvalid as error:
        raise PlanError(f"{display(path)} is not a parquet file: {error}") from error


def _read_parquet(path: str, stream: IO[bytes], field: str) -> Iterator[str]:
    import pyarrow as pa

    table = _parquet(path, stream)
    names = table.schema_arrow.names
    if field not in names:
        raise _missing(f"{display(path)} has no", "column", field, names)
    kind = table.schema_arrow.field(field).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(plain) or pa.types.is_large_string(plain)):
        raise PlanError(f"{display(path)}: column {field!r} is {kind}, and should be strings")
    row = 0
    for batch in table.iter_batches(batch_size=BATCH_NUM, columns=[field]):
        column = batch.column(0)
        if column.null_count:
            first = row + column.is_null().index(True).as_py()
            raise PlanError(f"{display(path)}: column {field!r} is null in row {first}")
        row += len(column)
        yield from column.to_pylist()


def _npy_header(path: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    except ValueError as error:
        raise PlanError(f"{display(path)} is not a npy file: {error}") from error
    if fortran and len(shape) > 1:
        raise PlanError(f"{display(path)}: the array is stored by columns; save it in C order")
    if len(shape) == 2 and shape[1] == 2 and (dtype.kind, dtype.itemsize) in _PAIR_KINDS:
        return shape[:1], np.dtype([("f0", dtype), ("f1", dtype)])
    return shape, dtype


def _is_pairs(dtype: np.dtype[Any]) -> bool:
    fields = [dtype[name] for name in dtype.names or ()]
    return len(fields) == 2 and all((f.kind, f.itemsize) in _PAIR_KINDS for f in fields)


def _read_npy(path: str, stream: IO[bytes], field: str) -> Iterator[list[str] | Array]:
    shape, dtype = _npy_header(path, stream)
    pairs = _is_pairs(dtype)
    if len(shape) != 1 or not (pairs or dtype.kind in "US"):
        raise PlanError(
            f"{display(path)}: an array of shape {shape} and dtype {dtype}; expected pairs of "
            "unsigned 64-bit numbers (dtype 'u8,u8') or strings"
        )
    if pairs and field == "key":
        raise PlanError(
            f"{display(path)} holds uids as numbers, not keys: set stage.keep_field=uid"
        )
    if dtype.itemsize == 0:
        return
    left = shape[0]
    num = CHUNK_NUM if pairs else BATCH_NUM
    while left:
        data = stream.read(min(num, left) * dtype.itemsize)
        if len(data) < min(num, left) * dtype.itemsize:
            raise PlanError(f"{display(path)} is truncated: {left} entries are missing at its end")
        rows = np.frombuffer(data, dtype)
        left -= len(rows)
        if pairs:
            ids = np.empty(len(rows), ID_DTYPE)
            for name, source in zip(("hi", "lo"), dtype.names or (), strict=True):
                ids[name] = rows[source].astype("<u8")
            yield ids
        else:
            text = rows if dtype.kind == "U" else np.char.decode(rows, "utf-8", "surrogateescape")
            yield [str(entry) for entry in text.tolist()]
