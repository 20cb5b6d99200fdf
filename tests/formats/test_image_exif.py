import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from hpcpipe.formats.image_exif import read_exif, read_orientation

EXIF_TABLE, GPS_TABLE = 0x8769, 0x8825


def camera() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = 6
    exif[0x011A] = IFDRational(72, 1)
    exif[0x0132] = "2024:05:06 07:08:09"
    own = exif.get_ifd(EXIF_TABLE)
    own[0x829A] = IFDRational(10, 600)
    own[0x8827] = 400
    own[0x9000] = b"0230"
    own[0x9101] = b"\1\2\3\0"
    own[0x927C] = b"notes of the maker" * 100
    own[0x9286] = b"ASCII\0\0\0a comment\0"
    gps = exif.get_ifd(GPS_TABLE)
    gps[1] = "N"
    gps[2] = (48.0, 30.0, IFDRational(121, 10))
    return exif.tobytes().removeprefix(b"Exif\0\0")


SEEN = {
    "Image Make": "A maker",
    "Image Orientation": "6",
    "Image XResolution": "72",
    "Image DateTime": "2024:05:06 07:08:09",
    "EXIF ExposureTime": "1/60",
    "EXIF ISOSpeedRatings": "400",
    "EXIF ExifVersion": "0230",
    "EXIF ComponentsConfiguration": "[1, 2, 3, 0]",
    "EXIF UserComment": "a comment",
    "GPS GPSLatitudeRef": "N",
    "GPS GPSLatitude": "[48, 30, 121/10]",
}


def test_metadata_is_text_by_name():
    assert read_exif(camera()) == SEEN
    assert read_orientation(camera()) == 6


def table(*entries: tuple[int, int, int, bytes], order: str = "<", following: int = 0) -> bytes:
    """A TIFF of one table, whose entries hold their values or where these are."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    rows = [struct.pack(f"{order}HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries]
    return head + b"".join(rows) + struct.pack(f"{order}I", following)


def test_both_byte_orders():
    assert read_exif(table((0x0100, 3, 1, b"\1\2"), order="<")) == {"Image ImageWidth": "513"}
    assert read_exif(table((0x0100, 3, 1, b"\1\2"), order=">")) == {"Image ImageWidth": "258"}
    assert read_orientation(table((0x0112, 3, 1, b"\0\3"), order=">")) == 3


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_is_upright(orientation):
    assert read_orientation(table((0x0112, 3, 1, struct.pack("<H", orientation)))) == 1


def test_titles_of_windows_and_unknown_tags():
    text = "Grüße".encode("utf-16-le") + b"\0\0"
    place = struct.pack("<I", 8 + 2 + 24 + 4)
    exif = table((0x9C9B, 1, len(text), place), (0xEEEE, 3, 1, b"\5")) + text
    assert read_exif(exif) == {"Image XPTitle": "Grüße", "Image Tag 0xEEEE": "5"}


def test_long_values_are_cut():
    numbers = table((0x0111, 4, 2_000, struct.pack("<I", 26))) + bytes(8_000)
    assert len(read_exif(numbers)["Image StripOffsets"]) < 200
    text = table((0x010E, 2, 1_000_000, struct.pack("<I", 26))) + b"x" * 1_000_000
    assert len(read_exif(text)["Image ImageDescription"]) == 2_000


def test_tables_in_circles_and_many_entries_end():
    assert read_exif(table((0x8769, 4, 1, struct.pack("<I", 8)), following=8)) == {}
    place = struct.pack("<I", 8 + 2 + 12 * 60_000 + 4)
    exif = table(*[(index, 2, 5_000, place) for index in range(60_000)]) + b"y" * 5_000
    assert sum(map(len, read_exif(exif).values())) < 60_000


def test_what_points_outside_is_left_out():
    outside = table((0x010F, 2, 50, struct.pack("<I", 1_000_000)), (0x0110, 2, 3, b"abc"))
    assert read_exif(outside) == {"Image Model": "abc"}
    assert read_exif(table((0x829A, 5, 1, struct.pack("<I", 26))) + bytes(8)) == {
        "Image ExposureTime": "0/0"
    }


@given(st.binary(max_size=300), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_give_text_or_nothing(content, begin):
    exif = begin + content
    assert all(isinstance(text, str) for text in read_exif(exif).values())
    assert 1 <= read_orientation(exif) <= 8


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_damaged_metadata_gives_text_or_nothing(damage):
    content = bytearray(camera())
    for place, byte in damage:
        content[place % len(content)] = byte
    assert all(isinstance(text, str) for text in read_exif(bytes(content)).values())
    assert 1 <= read_orientation(bytes(content)) <= 8
