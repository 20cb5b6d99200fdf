"""Tar headers, read fast: where every member of a tar begins, ends and what it is called.

`scan` walks the headers of a tar without reading its contents, understands ustar, GNU and pax,
checks every header's checksum, and names file and byte offset when something is wrong. Names
come out as Python's ``tarfile`` gives them.

Writing headers is in ``tar_write``; samples (names split into key and extension) in ``samples``.
Compressed tars are unpacked by ``source``. Contents are never looked at here.
"""

from collections.abc import Iterator

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar_blocks import HeaderReader
from hpcpipe.formats.tar_extended import ExtendedRecords
from hpcpipe.formats.tar_fields import BLOCK_BYTES

_WITHOUT_DATA = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_EXTENDED = frozenset((b"x", b"X", b"L", b"K", b"g"))


class Member(msgspec.Struct, gc=False):
    """One entry of a tar; all positions are byte offsets in the uncompressed tar.

    Attributes:
        name: its full name; bytes that are no UTF-8 stand as surrogate escapes.
        start: its first header block, with the pax or GNU headers that belong to it.
        data: its content.
        size: content bytes.
        end: where the next entry begins (content padded to 512).
        type: the type flag; ``b"0"`` for every kind of plain file, ``b"g"`` for a global pax
            header, which stands as an entry of its own.
        mode: permission bits.
        mtime: modification time in seconds since 1970, cut downwards.
        gnu: True for the GNU format, False for ustar and pax.
    """

    name: str
    start: int
    data: int
    size: int
    end: int
    type: bytes
    mode: int
    mtime: int
    gnu: bool

    @property
    def is_file(self) -> bool:
        """True for a plain file; links, folders and devices are not. Raises nothing."""
        return self.type == b"0"


def scan(source: Source, *, prefetch: bool = False) -> Iterator[Member]:
    """Yield every entry of a tar in order, reading headers only.

    Args:
        source: the tar, uncompressed.
        prefetch: ask the kernel to load a local file ahead of the scan, for callers that copy
            the contents next.

    Yields:
        Members of every type. A tar of zero blocks only yields none.

    Raises:
        BadInputError: not a tar, truncated, corrupt, a sparse file, or an unsafe member name;
            the message names the file and the byte offset.
        OSError: reading failed.
    """
    reader = HeaderReader(source, prefetch)
    records = ExtendedRecords()
    size_bytes = source.size_bytes
    offset = start = 0
    while (fields := reader.header(offset)) is not None:
        name, size, type_, mode, mtime, gnu = fields
        data = offset + BLOCK_BYTES
        if type_ in _EXTENDED:
            offset = reader.extend(records, type_, offset, size)
            if type_ == b"g":
                yield Member(name, start, data, size, offset, type_, mode, mtime, gnu)
                start = offset
            continue
        if records.prefixes:
            name = name if records.name is None else records.name
            size = size if records.size is None else records.size
            mtime = mtime if records.mtime is None else records.mtime
            records.clear()
        elif records.global_mtime is not None:
            mtime = records.global_mtime
        offset = data
        if type_ not in _WITHOUT_DATA:
            offset += (size + BLOCK_BYTES - 1) & -BLOCK_BYTES
            if offset > size_bytes:
                raise reader.truncated(f"member {name!r} at byte {start} ends at byte {offset}")
        elif type_ == b"5":
            name = name.rstrip("/")
        if ".." in name or name[:1] == "/" or "\0" in name:
            _check_name(source, name, start)
        yield Member(name, start, data, size, offset, type_, mode, mtime, gnu)
        start = offset
    if records.prefixes:
        raise reader.truncated(f"the extension header at byte {start} has no member after it")


def _check_name(source: Source, name: str, offset: int) -> None:
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise BadInputError(
            f"{display(source.path)}: the member at byte {offset} has the unsafe name {name!r} "
            "(absolute, with '..', or with a NUL)"
        )
