import datetime
import json
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpipe.errors import SetupError
from hpcpipe.formats.tfrecord import ExampleEncoder, Framer
from tests.formats.tfrecord_reader import crc32c, example_class, masked, read_records


def decode(type_, value):
    """What protobuf reads of one value of an Arrow type: kind and values."""
    encoded = ExampleEncoder(pa.schema([("x", type_)])).encode({"x": value}, {})
    example = example_class()()
    example.ParseFromString(b"".join(encoded))
    feature = example.features.feature["x"]
    kind = feature.WhichOneof("kind")
    return kind.removesuffix("_list"), list(getattr(feature, kind).value)


def test_the_reader_computes_known_checksums():
    # Source: RFC 3720, B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert masked(0) == 0xA282EAD8


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.binary(max_size=300), max_size=4), max_size=5))
def test_frames_read_back_with_their_checksums(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("frames") / "a.tfrecord"
    framer = Framer()
    path.write_bytes(b"".join([piece for pieces in records for piece in framer.frame(pieces)]))
    assert list(read_records(path)) == [b"".join(pieces) for pieces in records]


def test_a_known_record_is_what_tensorflow_writes():
    # Source: tf.io.TFRecordWriter of TensorFlow 2.21, for the record b"a".
    expected = bytes.fromhex("01000000000000000175de4161786ee428")
    assert b"".join(Framer().frame([b"a"])) == expected


@pytest.mark.parametrize("type_", [pa.int8(), pa.int32(), pa.int64(), pa.bool_()])
def test_whole_numbers_are_int64(type_):
    assert decode(type_, 1) == ("int64", [1])
    assert decode(type_, None) == ("int64", [])


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_any_int64_comes_back(value):
    assert decode(pa.int64(), value) == ("int64", [value])


def test_unsigned_numbers_keep_their_64_bits():
    (value,) = decode(pa.uint64(), 2**64 - 2)[1]
    assert value % 2**64 == 2**64 - 2


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_any_float_comes_back(value):
    assert decode(pa.float32(), value) == ("float", [value])


def test_floats_beyond_32_bits_are_infinite_and_nan_stays():
    assert decode(pa.float64(), 1e300) == ("float", [math.inf])
    assert decode(pa.float64(), -1e300) == ("float", [-math.inf])
    assert math.isnan(decode(pa.float64(), math.nan)[1][0])
    assert decode(pa.float64(), None) == ("float", [])


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back(value):
    assert decode(pa.string(), value) == ("bytes", [value.encode()])


def test_a_null_text_is_an_empty_one():
    assert decode(pa.string(), None) == ("bytes", [b""])


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_lists_of_whole_numbers_leave_out_nulls(values):
    expected = [value for value in values if value is not None]
    assert decode(pa.list_(pa.int64()), values) == ("int64", expected)


def test_lists_of_other_things():
    assert decode(pa.list_(pa.float32(), 2), [0.5, 1.5]) == ("float", [0.5, 1.5])
    assert decode(pa.list_(pa.string()), ["a", None]) == ("bytes", [b"a", b""])
    assert decode(pa.list_(pa.string()), None) == ("bytes", [])


def test_what_tensorflow_has_no_kind_for_is_text():
    day = datetime.datetime(2024, 5, 17, 1, 2, 3)
    assert decode(pa.timestamp("us"), day) == ("bytes", [b"2024-05-17T01:02:03"])
    boxes = pa.list_(pa.list_(pa.float32()))
    kind, texts = decode(boxes, [[0.5, 1.0], [0.25]])
    assert (kind, [json.loads(text) for text in texts]) == ("bytes", [[0.5, 1.0], [0.25]])


def test_blobs_are_not_copied():
    blob = bytes(1000)
    pieces = ExampleEncoder(pa.schema([])).encode({}, {"jpg": blob})
    assert any(piece is blob for piece in pieces)
    assert any(piece is blob for piece in Framer().frame(pieces))


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
    with pytest.raises(SetupError, match=r"hpcpipe\[download\]"):
        Framer()
