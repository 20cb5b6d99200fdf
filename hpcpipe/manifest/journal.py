"""Journals: what became of every attempt, in append-only files with one writer each.

A line is one `Event` as JSON. Lines of different journals have no order among each other, so
everything that is concluded from them (``state.py``) must come out the same in any order.
"""

import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from hpcpipe.errors import naming
from hpcpipe.manifest.files import FILE_MODE, JSON_ERRORS, write_all
from hpcpipe.stage import OutputFile

logger = logging.getLogger(__name__)

FINALIZE = "@finalize"
"""Shard id and block of the pseudo-shard that `Stage.finalize` runs as."""

_CHUNK_BYTES = 512 << 10


class Brief(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a journal line says of the state of shards: an `Event` without its figures.

    Attributes:
        event: ``done`` and ``failed`` speak of one shard, ``closed`` and ``lost`` of a block's
            attempt that ended with shards left, ``reset`` of a shard to be done again.
        attempt: attempt on the shard's block; for ``reset``, the last one that is forgotten.
        shard: shard id; empty for ``closed`` and ``lost``.
        block: block number as text; empty for ``done``, ``failed`` and ``reset``.
        at: Unix time in seconds by the writer's clock; for people, not for decisions.
        error: message (``failed``, and ``closed`` for an error of the environment).
        error_class: name of its class.
        final: True where another try is useless (bad input).
        owner: worker that was lost (``lost``).
        host: host of the writer, or of the lost worker (``lost``).
    """

    event: Literal["done", "failed", "closed", "lost", "reset"]
    attempt: int
    shard: str = ""
    block: str = ""
    at: float = 0.0
    error: str = ""
    error_class: str = ""
    final: bool = False
    owner: str = ""
    host: str = ""


class Event(Brief, frozen=True, omit_defaults=True, gc=False):
    """One line of a journal.

    Attributes:
        seconds: time the shard took.
        outputs: finished files (``done``).
        stats: counters (``done``).
        num_samples: samples in the shard (``done``); what counts as such is in `Outcome`.
        bytes_in: bytes of input read for it (``done``).
    """

    seconds: float = 0.0
    outputs: tuple[OutputFile, ...] = ()
    stats: dict[str, int | float] = {}
    num_samples: int = 0
    bytes_in: int = 0


class JournalWriter:
    """The one writer of one journal."""

    def __init__(self, path: Path) -> None:
        """Create the journal.

        Args:
            path: a file that does not exist yet.

        Raises:
            FileExistsError: somebody else's journal is there.
            OSError: it cannot be created.
        """
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, FILE_MODE)
        self._encoder = msgspec.json.Encoder()
        self._unwritten = b""
        self._end_bytes = -1

    def write(self, *events: Event) -> None:
        """Append events and make them durable together.

        Args:
            events: what happened; none to try again after a failure.

        Raises:
            OSError: it could not be written; it is kept, and will be with what is written next.
        """
        self._unwritten += self._encoder.encode_lines(events)
        if not self._unwritten:
            return
        try:
            if self._end_bytes < 0:
                # Asked for, not counted: an interrupt may come anywhere.
                self._end_bytes = os.lseek(self._fd, 0, os.SEEK_END)
            else:
                self._begin_again()
            self._append()
        except OSError as error:
            naming(error, self._path)
            raise
        # In this order: an interrupt between the two writes lines twice, which changes nothing.
        self._end_bytes = -1
        self._unwritten = b""

    def _begin_again(self) -> None:
        """Take back what a failed write left, for the same bytes again: some may have been read."""
        # Opened anew, since the old descriptor's handle may be stale.
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = fd
        os.ftruncate(fd, self._end_bytes)

    def _append(self) -> None:
        try:
            write_all(self._fd, self._unwritten)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end_bytes)
            raise
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file. Raises OSError where the filesystem reports a late write error."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _stem(name: str) -> str:
    return name.removesuffix(".jsonl")


Line = TypeVar("Line", bound=Brief)


class JournalReader(Generic[Line]):
    """Reads what is new in all journals of a run, as often as it is asked.

    Attributes:
        offsets: bytes that were read of every journal, by file name.
    """

    def __init__(
        self, folder: Path, line: type[Line], offsets: Mapping[str, int] | None = None
    ) -> None:
        """Start.

        Args:
            folder: ``RUN_DIR/journal``.
            line: what to read of every line; what is left out costs no time and no memory.
            offsets: where to begin, by file name; at the beginning of every other journal.

        Raises:
            Nothing.
        """
        self._folder = folder
        self.offsets = dict(offsets or {})
        self._expected: set[str] = set()
        self._decoder = msgspec.json.Decoder(line)

    def expect(self, worker: str) -> None:
        """Read a worker's journal from now on even if the folder's listing lacks it.

        A network filesystem may list a folder as it was up to a minute ago, while a file that is
        asked for by its name is found.

        Args:
            worker: name of the journal, without suffix; it need not exist.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        self._expected.add(f"{worker}.jsonl")

    def num_unread_bytes(self) -> int:
        """Bytes that the journals have beyond what was read. Raises OSError."""
        with os.scandir(self._folder) as entries:
            return sum(
                max(entry.stat().st_size - self.offsets.get(entry.name, 0), 0)
                for entry in entries
                if entry.name.endswith(".jsonl")
            )

    def read(self, workers: Collection[str] | None = None) -> list[tuple[str, Line]]:
        """Read the events since the last call.

        Args:
            workers: only these journals, and those never read; None for all.

        Returns:
            (journal name without suffix, event) pairs; a torn last line waits for its end.

        Raises:
            OSError: the folder or a journal cannot be read.
        """
        before = dict(self.offsets)
        try:
            return [(worker, event) for worker, events in self.batches(workers) for event in events]
        except BaseException:
            self.offsets = before
            raise

    def batches(self, workers: Collection[str] | None = None) -> Iterator[tuple[str, list[Line]]]:
        """Read the events since the last call, some megabytes at a time.

        Args:
            workers: only these journals, and those never read; None for all.

        Yields:
            Journal name without suffix, and events of it.

        Raises:
            OSError: the folder or a journal cannot be read.
        """
        with os.scandir(self._folder) as entries:
            listed = {entry.name for entry in entries if entry.name.endswith(".jsonl")}
        unlisted = {name for name in self._expected - listed if (self._folder / name).is_file()}
        for name in sorted(listed | unlisted):
            if workers is not None and name in self.offsets and _stem(name) not in workers:
                continue
            for data in self._new_data(name):
                yield _stem(name), self._decode(name, data)
            self.offsets.setdefault(name, 0)

    def _new_data(self, name: str) -> Iterator[bytes]:
        """Whole lines, some megabytes at a time."""
        offset, rest = self.offsets.get(name, 0), b""
        with (self._folder / name).open("rb", buffering=0) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > offset:
                file.seek(offset)
            while offset + len(rest) < size_bytes:
                piece = file.read(min(_CHUNK_BYTES, size_bytes - offset - len(rest)))
                if not piece:
                    return
                data = rest + piece
                end = data.rfind(b"\n") + 1
                rest = data[end:]
                if end:
                    yield data[:end]
                    offset += end
                    self.offsets[name] = offset

    def _decode(self, name: str, data: bytes) -> list[Line]:
        with contextlib.suppress(*JSON_ERRORS):
            events = self._decoder.decode_lines(data)
            if len(events) == data.count(b"\n"):
                return events
        return self._decode_each(name, data)

    def _decode_each(self, name: str, data: bytes) -> list[Line]:
        events = []
        for line in data.removesuffix(b"\n").split(b"\n"):
            try:
                events.append(self._decoder.decode(line))
            except JSON_ERRORS as error:
                logger.warning("%s: passing over a damaged line: %s", self._folder / name, error)
        return events
