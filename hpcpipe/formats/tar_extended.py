"""What the extension headers of a tar (pax, GNU long names) say of the member behind them.

For ``tar_blocks`` and ``tar``, which read the headers; takes in contents only.
"""

import re

from hpcpipe.formats import tar_fields

_ONLY_MTIME = re.compile(rb"(\d+) mtime=(\d+)(?:\.\d*)?\n").fullmatch


class UnsupportedError(Exception):
    """A sound header that says something no member of a dataset should say."""


class ExtendedRecords:
    """What extension headers say of the next member; the first one to say a thing wins.

    Attributes:
        global_mtime: time that a global pax header gives to all members behind it.
        prefixes: extension headers taken in.
        name: full name, where one says so.
        size: content bytes, where one says so.
        mtime: whole seconds, where one says so.
    """

    __slots__ = ("global_mtime", "mtime", "name", "prefixes", "size")

    def __init__(self) -> None:
        self.global_mtime: int | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything but what is global. Raises nothing."""
        self.prefixes = 0
        self.name: str | None = None
        self.size: int | None = None
        self.mtime = self.global_mtime

    def add(self, type_: bytes, body: bytes) -> None:
        """Take in the content of one extension header.

        Args:
            type_: its type flag.
            body: its content.

        Raises:
            ValueError: it is damaged.
            UnsupportedError: it says what is not supported.
        """
        self.prefixes += 1
        if self.prefixes == 1 and type_ == b"x" and (only := _ONLY_MTIME(body)):
            if int(only[1]) != len(body):
                raise ValueError("pax record")
            self.mtime = int(only[2])
        elif type_ == b"L":
            self.name = tar_fields.text(body) if self.name is None else self.name
        elif type_ == b"g":
            self._add_global(tar_fields.pax_records(body))
        elif type_ != b"K":
            self._add_pax(tar_fields.pax_records(body))

    def _add_pax(self, records: dict[bytes, bytes]) -> None:
        if any(keyword.startswith(b"GNU.sparse.") for keyword in records):
            raise UnsupportedError("a sparse file")
        if self.name is None and b"path" in records:
            self.name = records[b"path"].decode("utf-8", "surrogateescape").rstrip("/")
        if self.size is None and b"size" in records:
            self.size = int(records[b"size"])
            if self.size < 0:
                raise ValueError("size")
        if b"mtime" in records and self.mtime is self.global_mtime:
            self.mtime = tar_fields.whole_seconds(records[b"mtime"])

    def _add_global(self, records: dict[bytes, bytes]) -> None:
        if self.prefixes > 1:
            raise ValueError("between an extension header and its member")
        if b"path" in records or b"size" in records:
            raise UnsupportedError("a path or size for all members")
        if b"mtime" in records:
            self.global_mtime = tar_fields.whole_seconds(records[b"mtime"])
        self.clear()
