"""EXIF metadata as text, and the orientation in it.

Keys are named as ExifRead names them, which img2dataset's ``exif`` column comes from: ``Image
Model``, ``EXIF ExposureTime``, ``GPS GPSLatitude``. Values are what is stored, numbers where the
standard has numbers for meanings. Makers' own notes and previews are left out. The metadata is
anybody's bytes: each table is read once, and the amount of text is limited.
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

_MAX_ENTRIES = 1_000
_MAX_VALUES = 50
_MAX_TEXT_CHARS = 2_000
_MAX_ALL_CHARS = 50_000

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii"}
_TYPES |= {11: "f", 12: "d"}
"""Struct characters of a value by its type's number; two make a fraction."""

_ORIENTATION = 0x0112
_TABLES = {0x8769: "EXIF", 0x8825: "GPS", 0xA005: "Interoperability"}
_LEFT_OUT = frozenset({0x927C, 0xC4A5, 0x02BC, 0x83BB, 0x8649, 0x8773, 0xC634})
"""Makers' notes, printing data, and other formats packed in a tag."""

_WIDE_TEXT = range(0x9C9B, 0x9CA0)
"""Titles and comments as Windows writes them."""

_USER_COMMENT = 0x9286


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: bytes


def read_orientation(exif: bytes | None) -> int:
    """Tell how an image is to be turned.

    Args:
        exif: its metadata from the TIFF header on; None where there is none.

    Returns:
        1 to 8 as in EXIF; 1, upright, where nothing valid is said.

    Raises:
        Nothing.
    """
    order = _byte_order(exif)
    if exif is None or order is None:
        return 1
    for entry in _entries(exif, order, _number(exif, order, 4)):
        if entry.tag == _ORIENTATION and entry.kind == 3:
            (orientation,) = struct.unpack_from(f"{order}H", entry.values)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def read_exif(exif: bytes) -> dict[str, str]:
    """Read the metadata.

    Args:
        exif: from the TIFF header on.

    Returns:
        Text by name; empty where it cannot be read.

    Raises:
        Nothing.
    """
    order = _byte_order(exif)
    found: dict[str, str] = {}
    if order is None:
        return found
    first = _number(exif, order, 4)
    tables, seen = [(first, "Image"), (_next_table(exif, order, first), "Thumbnail")], {0}
    num_chars = num_entries = 0
    for offset, group in tables:
        if offset in seen:
            continue
        seen.add(offset)
        names = _names(group)
        for entry in _entries(exif, order, offset):
            num_entries += 1
            if num_entries > _MAX_ENTRIES or num_chars > _MAX_ALL_CHARS:
                return found
            if entry.tag in _TABLES and entry.kind == 4 and len(tables) < 8:
                tables.append((_number(entry.values, order, 0), _TABLES[entry.tag]))
            elif entry.tag not in _LEFT_OUT:
                name = f"{group} {names.get(entry.tag, f'Tag 0x{entry.tag:04X}')}"
                found[name] = _text(entry, order)
                num_chars += len(found[name])
    return found


def _byte_order(exif: bytes | None) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4]) if exif else None


def _number(exif: bytes, order: str, offset: int) -> int:
    number = exif[offset : offset + 4]
    return int(struct.unpack(f"{order}I", number)[0]) if len(number) == 4 else 0


def _num_entries(exif: bytes, order: str, offset: int) -> int:
    """How many entries a table says it has; 0 where there is no room for a table."""
    number = exif[offset : offset + 2]
    return int(struct.unpack(f"{order}H", number)[0]) if offset and len(number) == 2 else 0


def _next_table(exif: bytes, order: str, offset: int) -> int:
    return _number(exif, order, offset + 2 + 12 * _num_entries(exif, order, offset))


def _entries(exif: bytes, order: str, offset: int) -> Iterator[_Entry]:
    """Give a table's entries that are whole and of a known type."""
    unpack = struct.Struct(f"{order}HHI").unpack_from
    for index in range(_num_entries(exif, order, offset)):
        start = offset + 2 + 12 * index
        if start + 12 > len(exif):
            return
        tag, kind, count = unpack(exif, start)
        if kind not in _TYPES:
            continue
        num_bytes = count * struct.calcsize(f"={_TYPES[kind]}")
        start = start + 8 if num_bytes <= 4 else _number(exif, order, start + 8)
        if num_bytes and start + num_bytes <= len(exif):
            yield _Entry(tag, kind, exif[start : start + num_bytes])


def _names(group: str) -> dict[int, str]:
    from PIL import ExifTags

    if group == "GPS":
        return ExifTags.GPSTAGS
    if group == "Interoperability":
        return {
            tag.value: tag.name.replace("Interop", "Interoperability") for tag in ExifTags.Interop
        }
    return ExifTags.TAGS


def _text(entry: _Entry, order: str) -> str:
    characters = _TYPES[entry.kind]
    if entry.tag in _WIDE_TEXT:
        return _clean(entry.values.decode("utf-16-le", "replace"))
    if entry.tag == _USER_COMMENT:
        return _comment(entry.values, order)
    if entry.kind == 2 or (characters == "s" and _is_printable(entry.values)):
        return _clean(entry.values.decode("utf-8", "replace"))
    single = "B" if characters == "s" else characters
    size = struct.calcsize(f"={single}")
    given = entry.values[: size * (_MAX_VALUES + 1)]
    values: list[Any] = [
        _fraction(*value) if len(value) == 2 else value[0]
        for value in struct.iter_unpack(f"{order}{single}", given[: len(given) // size * size])
    ]
    if len(values) == 1:
        return str(values[0])
    listed = ", ".join(map(str, values[:_MAX_VALUES]))
    return f"[{listed}, ...]" if len(values) > _MAX_VALUES else f"[{listed}]"


def _comment(values: bytes, order: str) -> str:
    """Read a user's comment: eight bytes name its encoding."""
    encoding, text = values[:8], values[8:]
    if encoding == b"UNICODE\0":
        return _clean(text.decode("utf-16-le" if order == "<" else "utf-16-be", "replace"))
    return _clean((text if encoding.endswith(b"\0") else values).decode("utf-8", "replace"))


def _is_printable(values: bytes) -> bool:
    text = values.rstrip(b"\0 ")
    return bool(text) and all(32 <= byte < 127 for byte in text[:_MAX_TEXT_CHARS])


def _clean(text: str) -> str:
    return text.strip("\0").split("\0", 1)[0].strip()[:_MAX_TEXT_CHARS]


def _fraction(numerator: int, denominator: int) -> str:
    return str(Fraction(numerator, denominator)) if denominator else f"{numerator}/0"
