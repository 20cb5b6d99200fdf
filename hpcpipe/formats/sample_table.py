r"""The table of one tar's samples: a parquet file that becomes a part of a sample index.

Columns: ``key`` (text; bytes that are no UTF-8 as ``\xNN``), ``key_hi``, ``key_lo`` (its id),
``offset`` and ``length`` of all its members with their headers, ``num_members``, ``extensions``
(lower case, joined by ``/``, which no extension contains), ``plain`` (nothing else lies in the
byte range), and where uids are read ``uid``, ``uid_hi``, ``uid_lo``, null where a sample has none.
The tables of many tars are put together by the stage ``index``.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from hpcpipe.errors import BadInputError
from hpcpipe.formats.ids import ID_DTYPE, Array, hash_keys, hash_uids
from hpcpipe.formats.parquet_sink import ParquetSink
from hpcpipe.formats.samples import Sample
from hpcpipe.formats.source import open_source
from hpcpipe.stage import Output

ROWS_PER_GROUP = 1 << 15


class TableWriter:
    """Writes a table a row group at a time; a context manager."""

    def __init__(self, output: Output, *, uid: bool) -> None:
        """Start the file.

        Args:
            output: where it goes.
            uid: whether there are columns for uids.

        Raises:
            OSError: writing failed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._uid = uid
        fields = [
            ("key", pa.string()),
            ("key_hi", pa.uint64()),
            ("key_lo", pa.uint64()),
            ("offset", pa.int64()),
            ("length", pa.int64()),
            ("num_members", pa.int32()),
            ("extensions", pa.string()),
            ("plain", pa.bool_()),
        ]
        uids = [("uid", pa.string()), ("uid_hi", pa.uint64()), ("uid_lo", pa.uint64())]
        self._schema = pa.schema([*fields, *uids] if uid else fields)
        self._writer = pq.ParquetWriter(ParquetSink(output), self._schema, compression="zstd")
        self._rows: list[tuple[str, int, int, int, str, bool]] = []
        self._uids: list[str | None] = []

    def add(self, sample: Sample, uid: str | None) -> None:
        """Add a sample under the key it has in the tar.

        Args:
            sample: a sample with a key.
            uid: its uid, if any.

        Raises:
            OSError: writing failed.
        """
        own = [i for i, extension in enumerate(sample.extensions) if extension is not None]
        start = sample.members[0].start
        self._rows.append(
            (
                sample.renamed_from or sample.key or "",
                start,
                sample.members[own[-1]].end - start,
                len(own),
                "/".join(sample.extensions[i] or "" for i in own),
                own[-1] == len(own) - 1,
            )
        )
        self._uids.append(uid)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        keys, offsets, lengths, nums, extensions, plains = zip(*self._rows, strict=True)
        shown = [
            key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            for key in keys
        ]
        ids = hash_keys(keys)
        columns = [shown, ids["hi"], ids["lo"], offsets, lengths, nums, extensions, plains]
        if self._uid:
            lacks = np.array([uid is None for uid in self._uids])
            ids = np.zeros(len(keys), ID_DTYPE)
            ids[~lacks] = hash_uids([uid for uid in self._uids if uid is not None])
            columns += [self._uids, *(np.ma.array(ids[name], mask=lacks) for name in ("hi", "lo"))]
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._rows.clear()
        self._uids.clear()

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()


def read_table(path: str) -> Iterator[dict[str, Array]]:
    """Read a table in batches.

    Args:
        path: path or URL.

    Yields:
        By name the numeric columns (0 for null), and ``contents``: for each row the number of its
        entry in ``names`` (extensions), ``plains`` and ``lacks_uid`` (bool).

    Raises:
        BadInputError: it is missing or damaged.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_source(path) as source:
        data = source.read_at(0, source.size_bytes)
    try:
        file = pq.ParquetFile(pa.py_buffer(data))
        columns = [name for name in file.schema_arrow.names if name not in ("key", "uid")]
        for batch in file.iter_batches(ROWS_PER_GROUP, columns=columns, use_threads=False):
            yield _columns(batch)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadInputError(f"{path} is no table of samples: {error}") from error


def _columns(batch: Any) -> dict[str, Array]:
    numbers = [name for name in batch.schema.names if name != "extensions"]
    columns = {name: _numbers(batch.column(name)) for name in numbers}
    lacks_uid = np.zeros(len(batch), bool)
    if "uid_hi" in numbers:
        lacks_uid = _numbers(batch.column("uid_hi").is_null())
    extensions = batch.column("extensions").dictionary_encode()
    names = np.array(extensions.dictionary.to_pylist(), dtype=object)
    codes = extensions.indices.to_numpy() * 4 + columns["plain"] * 2 + lacks_uid
    made, columns["contents"] = np.unique(codes, return_inverse=True)
    columns["names"] = names[made // 4]
    columns["plains"] = made // 2 % 2 == 1
    columns["lacks_uid"] = made % 2 == 1
    return columns


def _numbers(column: Any) -> Array:
    filled = column.fill_null(0) if column.null_count else column
    numbers: Array = filled.to_numpy(zero_copy_only=False)
    return numbers
