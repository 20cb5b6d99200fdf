"""An independent reader of TFRecord files, from TensorFlow's definitions of both formats.

The frames are read by the layout in ``record_writer.h`` with a CRC-32C computed bit by bit; the
messages by protobuf's own runtime, from the fields that ``example.proto`` and ``feature.proto``
declare.
"""

import functools
import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto


def _message(file, name):
    return file.message_type.add(name=name)


def _field(message, name, number, type_, *, repeated=False, type_name=None, oneof=None):
    label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=type_, label=label)
    if type_name:
        field.type_name = f".tensorflow.{type_name}"
    if oneof is not None:
        field.oneof_index = oneof


@functools.cache
def example_class():
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )
    _field(_message(file, "BytesList"), "value", 1, FIELD.TYPE_BYTES, repeated=True)
    _field(_message(file, "FloatList"), "value", 1, FIELD.TYPE_FLOAT, repeated=True)
    _field(_message(file, "Int64List"), "value", 1, FIELD.TYPE_INT64, repeated=True)
    feature = _message(file, "Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("bytes", "float", "int64"), 1):
        type_name = {"bytes": "BytesList", "float": "FloatList", "int64": "Int64List"}[kind]
        _field(feature, f"{kind}_list", number, FIELD.TYPE_MESSAGE, type_name=type_name, oneof=0)
    features = _message(file, "Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1, FIELD.TYPE_STRING)
    _field(entry, "value", 2, FIELD.TYPE_MESSAGE, type_name="Feature")
    _field(
        features,
        "feature",
        1,
        FIELD.TYPE_MESSAGE,
        repeated=True,
        type_name="Features.FeatureEntry",
    )
    example = _message(file, "Example")
    _field(example, "features", 1, FIELD.TYPE_MESSAGE, type_name="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


@functools.cache
def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _table()[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % (1 << 32)


def read_records(path):
    """The records of a file; AssertionError where a checksum or a length is wrong."""
    with open(path, "rb") as file:
        while head := file.read(12):
            length, length_crc = struct.unpack("<QI", head)
            assert masked(crc32c(head[:8])) == length_crc
            data = file.read(length)
            assert len(data) == length
            (data_crc,) = struct.unpack("<I", file.read(4))
            assert masked(crc32c(data)) == data_crc
            yield data


def read_examples(path):
    """Each record's features as {name: (kind, values)}."""
    for data in read_records(path):
        example = example_class()()
        assert example.ParseFromString(data) == len(data)
        yield {
            name: (
                feature.WhichOneof("kind"),
                list(getattr(feature, feature.WhichOneof("kind")).value),
            )
            for name, feature in example.features.feature.items()
        }
