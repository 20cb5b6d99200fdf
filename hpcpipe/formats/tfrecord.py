"""TFRecord files of ``tf.train.Example``: rows encoded, and framed with their checksums.

Source: TensorFlow's ``core/lib/io/record_writer.h`` (framing: length, masked CRC-32C of the length,
data, masked CRC-32C of the data) and ``core/example/example.proto``, ``feature.proto`` (messages).
Reading is not done here.
"""

import datetime
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hpcpipe.errors import missing_extra
from hpcpipe.formats.download_rows import to_json

_BYTES, _FLOATS, _INTS = 1, 2, 3
"""Numbers of the fields of ``Feature``: which kind of list it holds."""

_Encode = Callable[[Any], bytes]


class Framer:
    """Puts a record into its frame."""

    def __init__(self) -> None:
        """Load the checksum's library.

        Raises:
            SetupError: it is not installed.
        """
        try:
            from google_crc32c import extend
        except ImportError as error:
            raise missing_extra(
                "google-crc32c", "download", "stage.output_format=tfrecord"
            ) from error
        self._extend: Any = extend

    def frame(self, pieces: list[bytes]) -> list[bytes]:
        """Frame one record.

        Args:
            pieces: its data.

        Returns:
            What is to be written, in order.

        Raises:
            Nothing.
        """
        length = struct.pack("<Q", sum(map(len, pieces)))
        return [length, self._masked([length]), *pieces, self._masked(pieces)]

    def _masked(self, pieces: list[bytes]) -> bytes:
        crc = 0
        for piece in pieces:
            crc = self._extend(crc, piece)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


class ExampleEncoder:
    """Encodes rows as ``tf.train.Example``, each column a feature of the kind its type asks for.

    Whole numbers and booleans are Int64List (unsigned ones as the same 64 bits), other numbers
    FloatList, anything else BytesList: text in UTF-8, times in ISO 8601, nested values as JSON.
    Of a null, a feature of text holds one empty string, and a feature of numbers nothing.
    """

    def __init__(self, schema: Any) -> None:
        """Choose the features.

        Args:
            schema: ``pyarrow.Schema`` of the rows.

        Raises:
            Nothing.
        """
        self._encode = {field.name: _encoding(field.type) for field in schema}

    def encode(self, values: Mapping[str, Any], blobs: Mapping[str, bytes]) -> list[bytes]:
        """Encode one row.

        Args:
            values: its values by column.
            blobs: further features by name, of one byte string each.

        Returns:
            The message's bytes in pieces; blobs are pieces of their own, not copied.

        Raises:
            Nothing.
        """
        pieces: list[bytes] = []
        for name, blob in blobs.items():
            inner = _tag_and_length(_BYTES, len(blob))
            pieces += [_entry(name, _BYTES, len(inner) + len(blob)), inner, blob]
        for name, value in values.items():
            kind, encode = self._encode[name]
            payload = encode(value)
            pieces += [_entry(name, kind, len(payload)), payload]
        return [_tag_and_length(1, sum(map(len, pieces))), *pieces]


def _entry(name: str, kind: int, num_payload_bytes: int) -> bytes:
    """Everything of an entry of the map of features that stands before its list's payload."""
    feature = _tag_and_length(kind, num_payload_bytes)
    key = name.encode()
    head = _tag_and_length(1, len(key)) + key
    head += _tag_and_length(2, len(feature) + num_payload_bytes) + feature
    return _tag_and_length(1, len(head) + num_payload_bytes) + head


def _encoding(type_: Any) -> tuple[int, _Encode]:
    """The kind of list for an Arrow type, and what encodes its values."""
    from pyarrow import types

    is_list = types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
    one = type_.value_type if is_list else type_
    if types.is_integer(one) or types.is_boolean(one):
        return _INTS, lambda value: _int_list(_present(value, is_list))
    if types.is_floating(one):
        return _FLOATS, lambda value: _float_list(_present(value, is_list))
    return _BYTES, lambda value: _bytes_list((value or []) if is_list else [value])


def _present(value: Any, is_list: bool) -> Iterator[Any]:
    values = (value or ()) if is_list else (value,)
    return (one for one in values if one is not None)


def _int_list(values: Iterator[int]) -> bytes:
    packed = b"".join([_varint(value % (1 << 64)) for value in values])
    return _tag_and_length(1, len(packed)) + packed if packed else b""


def _float_list(values: Iterator[float]) -> bytes:
    packed = b"".join([_float(value) for value in values])
    return _tag_and_length(1, len(packed)) + packed if packed else b""


def _bytes_list(values: list[Any]) -> bytes:
    encoded = [_as_bytes(value) for value in values]
    return b"".join([_tag_and_length(1, len(one)) + one for one in encoded])


def _float(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _as_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list | dict):
        return to_json(value)
    is_time = isinstance(value, datetime.date | datetime.time)
    return (value.isoformat() if is_time else str(value)).encode()


def _tag_and_length(field: int, num_bytes: int) -> bytes:
    """Head of a length-delimited field."""
    return bytes((field << 3 | 2,)) + _varint(num_bytes)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
