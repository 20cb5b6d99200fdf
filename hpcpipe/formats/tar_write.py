"""Tar headers, written: the header of a member that takes another's place, and the archive's end.

Headers are deterministic: owner 0 without a name, time and mode of the member replaced, or none
and read-only where a file is new. Reading is in ``tar``.
"""

import functools
from zlib import adler32

from hpcpipe.formats.tar import Member
from hpcpipe.formats.tar_fields import BLOCK_BYTES, MAX_OCTAL_11, checksum, pax_record
from hpcpipe.stage import Output

RECORD_BYTES = 10240
"""Archives are padded to a multiple of this, as ``tar`` and Python's ``tarfile`` do."""

_PLAIN_FILE = Member("", 0, 0, 0, 0, b"0", 0o444, 0, False)
_NAME_BYTES = 100
_OWNER = b"0000000\0" * 2


def add_file(output: Output, name: str, content: bytes) -> None:
    """Append a new plain file to an archive.

    Args:
        output: the archive so far.
        name: full name of the member.
        content: its content.

    Returns:
        Nothing.

    Raises:
        OSError: writing failed.
    """
    output.write(make_header(_PLAIN_FILE, name, len(content)))
    output.write(content)
    output.write(padding(len(content)))


def make_header(replaced: Member, name: str, size_bytes: int) -> bytes:
    """Build the header of a plain file that stands where another member stood.

    Names over 100 bytes, names that are not ASCII and sizes from 8 GiB are written the GNU way
    where the replaced member was in GNU format, else as pax records.

    Args:
        replaced: gives mode, time and format.
        name: full name of the new member.
        size_bytes: size of its content.

    Returns:
        One or more 512-byte blocks, to be followed by the content and `padding`.

    Raises:
        Nothing.
    """
    raw = name.encode("utf-8", "surrogateescape")
    if replaced.gnu:
        prefix = _gnu_long_name(raw) if len(raw) > _NAME_BYTES else b""
        return prefix + _block(raw, replaced.mode, size_bytes, replaced.mtime, gnu=True)
    records = b""
    if not raw.isascii() or len(raw) > _NAME_BYTES:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            records += pax_record(b"hdrcharset", b"BINARY")
        records += pax_record(b"path", raw)
    if size_bytes > MAX_OCTAL_11:
        records += pax_record(b"size", str(size_bytes).encode())
    if not 0 <= replaced.mtime <= MAX_OCTAL_11:
        records += pax_record(b"mtime", str(replaced.mtime).encode())
    short = raw if raw.isascii() else name.encode("ascii", "replace")
    block = _block(short, replaced.mode, size_bytes, replaced.mtime, gnu=False)
    if not records:
        return block
    extended = _block(b"././@PaxHeader", 0, len(records), 0, gnu=False, type_=b"x")
    return extended + records + padding(len(records)) + block


def padding(size_bytes: int) -> bytes:
    """Give the zeros that fill up a member's last block.

    Args:
        size_bytes: size of the content.

    Returns:
        0 to 511 zero bytes.

    Raises:
        Nothing.
    """
    return bytes(-size_bytes % BLOCK_BYTES)


def end_of_archive(size_bytes: int) -> bytes:
    """Give the zeros that end an archive: two blocks, then up to a whole record.

    Args:
        size_bytes: bytes of the archive so far.

    Returns:
        The zero bytes to append.

    Raises:
        Nothing.
    """
    return bytes(2 * BLOCK_BYTES + -(size_bytes + 2 * BLOCK_BYTES) % RECORD_BYTES)


def _gnu_long_name(raw: bytes) -> bytes:
    content = raw + b"\0"
    header = _block(b"././@LongLink", 0, len(content), 0, gnu=True, type_=b"L")
    return header + content + padding(len(content))


def _block(
    raw_name: bytes, mode: int, size: int, mtime: int, *, gnu: bool, type_: bytes = b"0"
) -> bytes:
    name = raw_name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")
    head = b"%b%07o\0%b%b%b" % (name, mode, _OWNER, _number(size, gnu), _number(mtime, gnu))
    tail, tail_sum = _tail(type_, gnu)
    return b"%b%06o\0 %b" % (head, (adler32(head, 0) & 0xFFFF) + tail_sum, tail)


@functools.cache
def _tail(type_: bytes, gnu: bool) -> tuple[bytes, int]:
    """What stands behind the checksum, and what it and the blank checksum add to the sum."""
    magic = b"ustar  \0" if gnu else b"ustar\x0000"
    tail = (type_.ljust(_NAME_BYTES + 1, b"\0") + magic).ljust(BLOCK_BYTES - 156, b"\0")
    return tail, checksum(bytes(156) + tail)


def _number(value: int, gnu: bool) -> bytes:
    """Octal; base-256 in GNU headers where that is too narrow, 0 in others (a record says it)."""
    if 0 <= value <= MAX_OCTAL_11:
        return b"%011o\0" % value
    if not gnu:
        return b"0" * 11 + b"\0"
    lead = b"\xff" if value < 0 else b"\x80"
    return lead + (value % 256**11).to_bytes(11, "big")
