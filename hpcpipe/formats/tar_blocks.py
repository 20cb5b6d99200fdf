"""Single header blocks of a tar, with the errors for damaged ones.

For ``tar``, which puts them together into members. Written for speed: neighbouring headers mostly
differ in name, size and time only, so the rest of a header is parsed once and then compared.
"""

import os
from zlib import adler32

from hpcpipe.errors import BadInputError
from hpcpipe.formats import tar_fields
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar_extended import ExtendedRecords, UnsupportedError
from hpcpipe.formats.tar_fields import (
    BLOCK_BYTES,
    MAX_EXTENDED_BYTES,
    checksum,
    number,
    verify_checksum,
)

WINDOW_BYTES = 8 << 10  # one read covers the small members between two images
PREFETCH_BYTES = 16 << 20

Fields = tuple[str, int, bytes, int, int, bool]
"""Name, size, type flag, mode, mtime and whether the format is GNU's."""

_OCTAL_ENDS = (0, 0x20)


class HeaderReader:
    """The header blocks of one tar, read through a small window."""

    def __init__(self, source: Source, prefetch: bool) -> None:
        """Start at the beginning.

        Args:
            source: the tar, uncompressed.
            prefetch: ask the kernel to load a local file ahead of what is read.

        Raises:
            Nothing.
        """
        self._source = source
        self._prefetch_fd = source.fd if prefetch else None
        self._prefetched = 0
        self._window = b""
        self._base = 0
        self._extended: dict[bytes, Fields] = {}  # pax headers, mostly equal but for their size
        self._tail = self._middle = b""
        self._tail_sum = self._mode = 0
        self._tail_fields = ("", b"", False)

    def header(self, offset: int) -> Fields | None:
        """Parse the header at an offset.

        Args:
            offset: a multiple of 512.

        Returns:
            Its fields, or None for the zero blocks that end the archive.

        Raises:
            BadInputError: there is no valid header, or data behind the archive's end.
            OSError: reading failed.
        """
        position = offset - self._base
        header = self._window[position : position + BLOCK_BYTES]
        if len(header) < BLOCK_BYTES:
            header = self._read(offset, BLOCK_BYTES)
            if len(header) < BLOCK_BYTES:
                raise self._no_header(header, offset)
        if header[156:157] == b"x":
            fields = self._extended.get(header)
        else:
            fields = self._parse_like_last(header)
        if fields is not None:
            return fields
        try:
            fields = _parse(header)
        except (ValueError, IndexError):
            if header.count(0) < BLOCK_BYTES:
                raise self._no_header(header, offset) from None
            self._check_rest(offset)
            return None
        if fields[2] == b"x":
            self._extended = {**self._extended, header: fields} if len(self._extended) < 16 else {}
        elif header[156] and header[100] < 0x80:
            self._tail, self._middle = header[156:], header[100:124]
            self._tail_sum = checksum(header) - (adler32(header[:148], 0) & 0xFFFF)
            self._mode = fields[3]
            prefix = fields[0][: len(fields[0]) - len(tar_fields.text(header[:100]))]
            self._tail_fields = (prefix, fields[2], fields[5])
        return fields

    def extend(self, records: ExtendedRecords, type_: bytes, offset: int, size: int) -> int:
        """Take in the extension header at an offset.

        Args:
            records: gathers what it says.
            type_: its type flag.
            offset: where its block is.
            size: bytes of its content.

        Returns:
            The offset behind it.

        Raises:
            BadInputError: it is damaged, truncated, or says what is not supported.
            OSError: reading failed.
        """
        try:
            if size > MAX_EXTENDED_BYTES:
                raise ValueError("size")
            end = offset + BLOCK_BYTES + ((size + BLOCK_BYTES - 1) & -BLOCK_BYTES)
            if end > self._source.size_bytes:
                raise self.truncated(f"the extension header at byte {offset} ends at byte {end}")
            records.add(type_, self._read(offset + BLOCK_BYTES, size))
        except (UnsupportedError, ValueError) as error:
            what = "is corrupt"
            if isinstance(error, UnsupportedError):
                what = f"describes {error}, which is not supported"
            raise BadInputError(
                f"{display(self._source.path)}: the extension header at byte {offset} {what}"
            ) from None
        return end

    def truncated(self, what: str) -> BadInputError:
        """Build the error for a tar that ends too early.

        Args:
            what: what does not fit, completing "it has N bytes, but ...".

        Returns:
            The error, to be raised by the caller.

        Raises:
            Nothing.
        """
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

    def _parse_like_last(self, header: bytes) -> Fields | None:
        """Parse a header that differs from the last in name, size and time only; else None."""
        if header[156:] != self._tail or header[100:124] != self._middle:
            return None
        if header[135] not in _OCTAL_ENDS or header[147] not in _OCTAL_ENDS:
            return None
        try:
            stored = int(header[148:154], 8)
            size, mtime = int(header[124:135], 8), int(header[136:147], 8)
        except ValueError:
            return None
        if stored != (adler32(header[:148], 0) & 0xFFFF) + self._tail_sum or size < 0:
            return None
        prefix, type_, gnu = self._tail_fields
        name = prefix + header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        return name, size, type_, self._mode, mtime, gnu

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
        if header[156:157] == b"S" and header[257:262] == b"ustar":
            return BadInputError(
                f"{path}: the member at byte {offset} is a sparse file, which is not supported; "
                "write the tar again without --sparse"
            )
        if offset == 0:
            kind = _known_kind(header)
            return BadInputError(f"{path} is not a tar file: no tar header at byte 0{kind}")
        if offset == size:
            return self.truncated(
                "no end-of-archive block follows; if only that is missing, append it with: "
                f"truncate -s +1024 {path}"
            )
        if len(header) < BLOCK_BYTES:
            return self.truncated(f"a header begins at byte {offset}")
        return BadInputError(f"{path} is corrupt: no valid tar header at byte {offset}")


def _parse(header: bytes) -> Fields:
    """Parse any header; ValueError or IndexError where there is none."""
    verify_checksum(header)
    size, mtime = number(header[124:136]), number(header[136:148])
    type_ = header[156:157]
    if type_ == b"S" or size < 0:
        raise ValueError("sparse")
    name = tar_fields.text(header[:100])
    if header[345] and header[257:263] == b"ustar\0":
        name = f"{tar_fields.text(header[345:500])}/{name}"
    if type_ == b"\0":
        type_ = b"5" if name.endswith("/") else b"0"
    elif type_ == b"7":
        type_ = b"0"
    mode = number(header[100:108]) & 0o7777
    return name, size, type_, mode, mtime, header[257:265] == b"ustar  \0"


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
