"""Tar headers, read fast: where every member of a tar begins, ends and what it is called.

`scan` walks the headers of a tar without reading its contents, understands ustar, GNU and pax,
checks every header's checksum, and names file and byte offset when something is wrong. Names
come out as Python's ``tarfile`` gives them.

Writing headers is in ``tar_header``; samples (names split into key and extension) in ``samples``.
Compressed tars are unpacked by ``source``. Contents are never looked at here.
"""

import os
from collections.abc import Iterator

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.formats import tar_fields
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar_fields import BLOCK_BYTES, MAX_EXTENDED_BYTES

WINDOW_BYTES = 8 << 10  # one read covers the small members between two images
PREFETCH_BYTES = 16 << 20

_WITHOUT_DATA = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_EXTENDED = frozenset((b"x", b"X", b"L", b"K", b"g"))
_GNU_MAGIC = b"ustar  \0"
_POSIX_MAGIC = b"ustar\0"
_OCTAL_ENDS = (0, 0x20)


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
    reader = _Reader(source, prefetch)
    records = _Records(None)
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
        if records.used:
            name, size, mtime = records.apply(name, size, mtime)
            records = _Records(records.global_mtime)
        offset = data
        if type_ not in _WITHOUT_DATA:
            offset += (size + BLOCK_BYTES - 1) & -BLOCK_BYTES
            if offset > source.size_bytes:
                raise reader.truncated(f"member {name!r} at byte {start} ends at byte {offset}")
        elif type_ == b"5":
            name = name.rstrip("/")
        if ".." in name or name[:1] == "/" or "\0" in name:
            _check_name(source, name, start)
        yield Member(name, start, data, size, offset, type_, mode, mtime, gnu)
        start = offset
    if records.prefixes:
        raise reader.truncated(f"the extension header at byte {start} has no member after it")


class _UnsupportedError(Exception):
    """A sound header that says something no member of a dataset should say."""


class _Records:
    """What extension headers say of the next member; the first one to say a thing wins."""

    __slots__ = ("global_mtime", "mtime", "name", "prefixes", "size", "used")

    def __init__(self, global_mtime: int | None) -> None:
        self.global_mtime = global_mtime
        self.used = global_mtime is not None
        self.prefixes = 0
        self.name: str | None = None
        self.size: int | None = None
        self.mtime: int | None = None

    def apply(self, name: str, size: int, mtime: int) -> tuple[str, int, int]:
        name = name if self.name is None else self.name
        size = size if self.size is None else self.size
        mtime = mtime if self.global_mtime is None else self.global_mtime
        return name, size, mtime if self.mtime is None else self.mtime

    def add(self, type_: bytes, body: bytes) -> None:
        self.used = True
        self.prefixes += 1
        if type_ == b"L":
            self.name = tar_fields.text(body) if self.name is None else self.name
        elif type_ != b"K":
            records = tar_fields.pax_records(body)
            if any(keyword.startswith(b"GNU.sparse.") for keyword in records):
                raise _UnsupportedError("a sparse file")
            if self.name is None and b"path" in records:
                self.name = records[b"path"].decode("utf-8", "surrogateescape").rstrip("/")
            if self.size is None and b"size" in records:
                self.size = int(records[b"size"])
            if self.mtime is None and b"mtime" in records:
                self.mtime = tar_fields.whole_seconds(records[b"mtime"])

    def add_global(self, body: bytes) -> None:
        if self.prefixes:
            raise ValueError("between an extension header and its member")
        records = tar_fields.pax_records(body)
        if b"path" in records or b"size" in records:
            raise _UnsupportedError("a path or size for all members")
        if b"mtime" in records:
            self.global_mtime = tar_fields.whole_seconds(records[b"mtime"])
            self.used = True


class _Reader:
    """Header blocks of one source, through a small window."""

    def __init__(self, source: Source, prefetch: bool) -> None:
        self._source = source
        self._prefetch_fd = source.fd if prefetch else None
        self._prefetched = 0
        self._window = b""
        self._base = 0

    def header(self, offset: int) -> tuple[str, int, bytes, int, int, bool] | None:
        """Parse the header at an offset; None at the end of the archive."""
        header = self._read(offset, BLOCK_BYTES)
        try:
            return _parse(header)
        except (ValueError, IndexError):
            if len(header) < BLOCK_BYTES or any(header):
                raise self._no_header(header, offset) from None
        self._check_rest(offset)
        return None

    def extend(self, records: _Records, type_: bytes, offset: int, size: int) -> int:
        """Take in the extension header at an offset; returns where the next header is."""
        where = f"{display(self._source.path)}: the extension header at byte {offset}"
        if size > MAX_EXTENDED_BYTES:
            raise BadInputError(f"{where} claims {size} bytes: the tar is corrupt")
        body = self._read(offset + BLOCK_BYTES, size)
        end = offset + BLOCK_BYTES + ((size + BLOCK_BYTES - 1) & -BLOCK_BYTES)
        if end > self._source.size_bytes:
            raise self.truncated(f"the extension header at byte {offset} ends at byte {end}")
        try:
            if type_ == b"g":
                records.add_global(body)
            else:
                records.add(type_, body)
        except _UnsupportedError as error:
            raise BadInputError(f"{where} describes {error}, which is not supported") from None
        except ValueError:
            raise BadInputError(f"{where} is corrupt") from None
        return end

    def truncated(self, what: str) -> BadInputError:
        path, size = display(self._source.path), self._source.size_bytes
        return BadInputError(f"{path} is truncated: it has {size} bytes, but {what}")

    def _read(self, offset: int, num_bytes: int) -> bytes:
        position = offset - self._base
        if position < 0 or position + num_bytes > len(self._window):
            fd = self._prefetch_fd
            if fd is not None and offset + PREFETCH_BYTES // 2 > self._prefetched:
                os.posix_fadvise(fd, offset, PREFETCH_BYTES, os.POSIX_FADV_WILLNEED)
                self._prefetched = offset + PREFETCH_BYTES
            self._window = self._source.read_at(offset, max(num_bytes, WINDOW_BYTES))
            self._base, position = offset, 0
        return self._window[position : position + num_bytes]

    def _check_rest(self, end: int) -> None:
        """A zero block ends the archive; data behind it would be lost without a word."""
        for offset in range(end, self._source.size_bytes, 1 << 20):
            rest = self._source.read_at(offset, 1 << 20)
            if rest.count(0) != len(rest):
                raise BadInputError(
                    f"{display(self._source.path)} has data behind the end-of-archive block at "
                    f"byte {end}: a zeroed-out part, or several tars joined into one file"
                )

    def _no_header(self, header: bytes, offset: int) -> BadInputError:
        path, size = display(self._source.path), self._source.size_bytes
        if size == 0:
            return BadInputError(f"{path} is empty (0 bytes): not even an empty tar")
        if offset == 0:
            kind = _known_kind(header)
            return BadInputError(
                f"{path} is not a tar file: there is no tar header at byte 0{kind}"
            )
        if offset == size:
            return self.truncated(
                f"no end-of-archive block follows; if its writer left that out, add it with: "
                f"truncate -s +1024 {path}"
            )
        if len(header) < BLOCK_BYTES:
            return self.truncated(f"a header begins at byte {offset}")
        if header[156:157] == b"S" and header[257:262] == b"ustar":
            return BadInputError(
                f"{path}: the member at byte {offset} is a sparse file, which is not supported; "
                "write the tar again without --sparse"
            )
        return BadInputError(f"{path} is corrupt: no valid tar header at byte {offset}")


def _parse(header: bytes) -> tuple[str, int, bytes, int, int, bool]:
    """Name, size, type, mode, mtime and format of a header; ValueError where it is none."""
    if header[154] in _OCTAL_ENDS and int(header[148:154], 8) == tar_fields.checksum(header):
        pass
    else:
        tar_fields.verify_checksum(header)
    if header[135] in _OCTAL_ENDS and header[124] < 0x80:
        size = int(header[124:135], 8)
    else:
        size = tar_fields.number(header[124:136])
    mode = tar_fields.number(header[100:108]) & 0o7777
    mtime = tar_fields.number(header[136:148])
    name = header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    type_ = header[156:157]
    if type_ == b"S" or size < 0:
        raise ValueError("sparse")
    if header[345] and header[257:263] == _POSIX_MAGIC:
        name = f"{tar_fields.text(header[345:500])}/{name}"
    if type_ == b"\0":
        type_ = b"5" if name.endswith("/") else b"0"
    elif type_ == b"7":
        type_ = b"0"
    return name, size, type_, mode, mtime, header[257:265] == _GNU_MAGIC


def _check_name(source: Source, name: str, offset: int) -> None:
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise BadInputError(
            f"{display(source.path)}: the member at byte {offset} has the unsafe name {name!r} "
            "(absolute, with '..', or with a NUL)"
        )


def _known_kind(header: bytes) -> str:
    if header[:2] == b"\x1f\x8b":
        return " (it is gzip data: name it .tar.gz)"
    if header[:4] == b"\x28\xb5\x2f\xfd" or header[:6] == b"\xfd7zXZ\x00" or header[:3] == b"BZh":
        return " (it is compressed: decompress it, or compress it as .tar.gz)"
    if header[:4] == b"PK\x03\x04":
        return " (it is a zip file)"
    if header.lstrip()[:1] == b"<":
        return " (it looks like a web page: a failed download?)"
    return ""
