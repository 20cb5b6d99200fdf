"""The fields of tar headers, as numbers and text: checksums, octal and base-256, pax records.

Knows nothing of files and offsets; `ValueError` is how it says that bytes are no tar header.
Source: POSIX.1-2017, pax interchange format; GNU tar manual, basic tar format.
"""

from zlib import adler32

BLOCK_BYTES = 512
MAX_EXTENDED_BYTES = 1 << 20
"""Names and records longer than this are taken for damage."""
MAX_OCTAL_11 = 8**11 - 1
"""Largest number that a twelve-byte octal field holds."""


def checksum(header: bytes) -> int:
    """Sum a header's bytes as its checksum field wants them: unsigned, the field itself as blanks.

    Args:
        header: the 512 bytes.

    Returns:
        The sum. (The low half of an Adler-32 that starts at 0 is the plain byte sum for up to
        256 bytes, far faster than summing in Python.)

    Raises:
        Nothing.
    """
    ends = adler32(header[412:], adler32(header[:148], 0)) & 0xFFFF
    return ends + (adler32(header[156:412], 0) & 0xFFFF) + 8 * 0x20


def verify_checksum(header: bytes) -> None:
    """Check a header's checksum; the signed sums of some old writers are taken too.

    Args:
        header: the 512 bytes.

    Raises:
        ValueError: it does not match.
    """
    stored = number(header[148:156])
    if stored == checksum(header):
        return
    signed = sum(memoryview(header).cast("b")) - sum(memoryview(header[148:156]).cast("b"))
    if stored != signed + 8 * 0x20:
        raise ValueError("checksum")


def number(field: bytes) -> int:
    """Read a number field: octal text, or GNU's base-256 where the first bit is set.

    Args:
        field: the field's bytes.

    Returns:
        The number; 0 for an empty field.

    Raises:
        ValueError: it is no number.
    """
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big") - (256 ** (len(field) - 1) if field[0] & 1 else 0)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def text(field: bytes) -> str:
    """Read a text field up to its NUL; bytes that are no UTF-8 become surrogate escapes.

    Args:
        field: the field's bytes.

    Returns:
        The text.

    Raises:
        Nothing.
    """
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pax_records(body: bytes) -> dict[bytes, bytes]:
    """Split the content of a pax header into its records.

    Args:
        body: the content without padding.

    Returns:
        Values by keyword; the last of equal keywords counts.

    Raises:
        ValueError: a record's length or form is wrong.
    """
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(body) and body[position]:
        space = body.index(b" ", position, position + 20)
        end = position + int(body[position:space])
        keyword, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not equals or not keyword or end > len(body) or body[end - 1] != 0x0A:
            raise ValueError("pax record")
        records[keyword] = value
        position = end
    return records


def pax_record(keyword: bytes, value: bytes) -> bytes:
    """Build one pax record, whose length field counts itself.

    Args:
        keyword: its keyword.
        value: its value.

    Returns:
        The record with its newline.

    Raises:
        Nothing.
    """
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def whole_seconds(value: bytes) -> int:
    """Cut a pax time to whole seconds, downwards.

    Args:
        value: decimal text such as ``1700000000.25``.

    Returns:
        Seconds since 1970.

    Raises:
        ValueError: it is no time.
    """
    whole, _, fraction = value.partition(b".")
    below_zero = whole.startswith(b"-") and fraction.strip(b"0") != b""
    return int(whole or b"0") - below_zero
