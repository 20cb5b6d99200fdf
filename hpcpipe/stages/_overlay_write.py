"""Writing a tar out of ranges of another, headers of edited members, and their contents."""

from collections.abc import Iterable

from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import Member
from hpcpipe.formats.tar_write import end_of_archive, make_header, padding
from hpcpipe.stage import Output

MAX_RUN_BYTES = 16 << 20
_CHUNK_BYTES = 4 << 20


class TarCopy:
    """A new tar made mostly of an old one; ranges that follow each other are copied in one go."""

    def __init__(self, source: Source, output: Output) -> None:
        """Start an empty tar.

        Args:
            source: the old tar.
            output: the new one.

        Raises:
            Nothing.
        """
        self._source = source
        self._output = output
        self._start = self._end = 0

    def members(self, members: Iterable[Member]) -> None:
        """Append members as they are.

        Args:
            members: entries of the old tar.

        Raises:
            BadInputError: the old tar ends too early.
            OSError: reading or writing failed.
        """
        for member in members:
            if member.start != self._end or self._end - self._start > MAX_RUN_BYTES:
                self._flush()
                self._start = member.start
            self._end = member.end

    def renamed(self, member: Member, name: str) -> None:
        """Append a member under another name.

        Args:
            member: entry of the old tar.
            name: its new name.

        Raises:
            BadInputError: the old tar ends too early.
            OSError: reading or writing failed.
        """
        self._flush()
        self._output.write(make_header(member, name, member.size))
        self._start, self._end = member.data, member.end

    def edited(self, replaced: Member, name: str, fd: int, offset: int, size_bytes: int) -> None:
        """Append new content.

        Args:
            replaced: member that gives time, mode and format.
            name: full name.
            fd: local file with the content.
            offset: where it begins there.
            size_bytes: its length.

        Raises:
            BadInputError: the file ends too early.
            OSError: reading or writing failed.
        """
        self._flush()
        self._output.write(make_header(replaced, name, size_bytes))
        self._output.copy_range(fd, offset, size_bytes)
        if size_bytes % 512:
            self._output.write(padding(size_bytes))

    def written(self, replaced: Member, name: str, content: bytes) -> None:
        """Append new content that is in memory.

        Args:
            replaced: member that gives time, mode and format.
            name: full name.
            content: what it holds.

        Raises:
            BadInputError: the old tar ends too early.
            OSError: reading or writing failed.
        """
        self._flush()
        self._output.write(make_header(replaced, name, len(content)))
        self._output.write(content)
        self._output.write(padding(len(content)))

    def finish(self) -> None:
        """Append the end of the archive.

        Raises:
            BadInputError: the old tar ends too early.
            OSError: reading or writing failed.
        """
        self._flush()
        self._output.write(end_of_archive(self._output.tell()))

    def _flush(self) -> None:
        start, end = self._start, self._end
        self._start = self._end = 0
        if start == end:
            return
        if self._source.fd is not None:
            self._output.copy_range(self._source.fd, start, end - start)
            self._source.count_read(end - start)
            return
        while start < end:
            chunk = self._source.read_at(start, min(_CHUNK_BYTES, end - start))
            start += self._output.write(chunk)
