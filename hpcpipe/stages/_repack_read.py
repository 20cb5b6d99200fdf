"""Reading samples from many tars: only their bytes, sorted by place, several at a time.

A window of the output is filled from all the tars it needs. The kernel is told of all reads of a
window while the one before it is written, so that the latency of a shared filesystem is paid once
for many; then ``preadv`` reads straight into the window. (Threads that read were tried: where the
data is cached they fight for the interpreter, and where it is not this does as well.) Remote tars
are read by concurrent range requests.
"""

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpcpipe.errors import BadInputError
from hpcpipe.formats.ids import Array
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote import display, is_remote
from hpcpipe.formats.remote_source import read_many
from hpcpipe.formats.sample_index import Tar
from hpcpipe.formats.source import GZIP_SUFFIXES, Source, open_source

WINDOW_BYTES = 16 << 20
WINDOW_SAMPLES = 512
NUM_THREADS = 8
MAX_OPEN = 128
MAX_OPEN_GZIP = 2
_MAX_PIECES = 512
_FEW_TARS = 4


class _Run(NamedTuple):
    """Neighbouring samples in one tar: one read into several places of a window."""

    tar: int
    offset: int
    num_bytes: int
    places: list[slice]


class TarPool:
    """The tars of an index, opened when needed, checked against the index, and closed again."""

    def __init__(self, tars: Sequence[Tar], scratch: Path) -> None:
        """Open none yet.

        Args:
            tars: the tars of the index.
            scratch: node-local folder to decompress into.

        Raises:
            Nothing.
        """
        self._tars = tars
        self._scratch = scratch
        self._open: dict[int, Source] = {}
        self._checked: set[int] = set()
        self._num_read_before = 0
        self._lock = threading.Lock()
        self._buffer = bytearray(WINDOW_BYTES)
        self._threads = ThreadPoolExecutor(NUM_THREADS, "hpcpipe-read")
        weakref.finalize(self, _close, self._open, self._threads)

    @property
    def num_read(self) -> int:
        """Bytes read of all tars so far, open or closed."""
        with self._lock:
            return self._num_read_before + sum(source.num_read for source in self._open.values())

    def path(self, tar: int) -> str:
        """Path of a tar for messages. Raises nothing."""
        return display(self._tars[tar].input.path)

    def source(self, tar: int) -> Source:
        """Open a tar.

        Args:
            tar: its number.

        Returns:
            The open tar; it stays open at least until `close_some`.

        Raises:
            BadInputError: it is gone, or not the one that was indexed.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: opening failed.
        """
        with self._lock:
            source = self._open.pop(tar, None)
            if source is not None:
                self._open[tar] = source  # now the latest
                return source
        self._check(tar)
        source = open_source(self._tars[tar].input.path, self._scratch)
        with self._lock:
            if tar in self._open:
                source.close()
            else:
                self._open[tar] = source
            return self._open[tar]

    def close_some(self) -> None:
        """Close the tars not used for longest, down to the limits. Raises OSError."""
        packed = [tar for tar in self._open if self._is_packed(tar)]
        plain = [tar for tar in self._open if not self._is_packed(tar)]
        for numbers, limit in ((packed, MAX_OPEN_GZIP), (plain, MAX_OPEN)):
            for tar in numbers[: max(0, len(numbers) - limit)]:
                source = self._open.pop(tar)
                self._num_read_before += source.num_read
                source.close()

    def windows(self, rows: Array) -> Iterator[tuple[int, int, memoryview | None]]:
        """Read samples window by window.

        Args:
            rows: `sample_index.SAMPLE_DTYPE` (N,), in the order wanted.

        Yields:
            First sample, the one behind the last, and their bytes one behind the other, valid
            until the next window; None for a sample that is too large, which is not read.

        Raises:
            BadInputError: a tar is gone, changed, or too short.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: reading failed.
        """
        cuts = _cut(rows["length"])
        runs = self._prepare(rows[slice(*cuts[0])]) if cuts else []
        for number, (start, end) in enumerate(cuts):
            num_bytes = int(rows["length"][start:end].sum())
            window = None
            if num_bytes <= WINDOW_BYTES:
                window = memoryview(self._buffer)[:num_bytes]
                self._read(runs, window)
            self.close_some()
            if number + 1 < len(cuts):
                runs = self._prepare(rows[slice(*cuts[number + 1])])
            yield start, end, window

    def _prepare(self, rows: Array) -> list[_Run]:
        """Open the tars of the next window, and start the kernel reading."""
        runs = _runs(rows)
        tars = dict.fromkeys(run.tar for run in runs)
        missing = [tar for tar in tars if tar not in self._open and not self._is_ranged(tar)]
        if len(missing) > _FEW_TARS:
            list(self._threads.map(self.source, missing))
        for run in runs:
            if not self._is_ranged(run.tar) and (fd := self.source(run.tar).fd) is not None:
                os.posix_fadvise(fd, run.offset, run.num_bytes, os.POSIX_FADV_WILLNEED)
        return runs

    def _is_packed(self, tar: int) -> bool:
        return self._tars[tar].input.path.endswith(GZIP_SUFFIXES)

    def _is_ranged(self, tar: int) -> bool:
        return is_remote(self._tars[tar].input.path) and not self._is_packed(tar)

    def _check(self, tar: int) -> None:
        if tar in self._checked:
            return
        was = self._tars[tar].input
        now = stat_input(was.path)
        if now != was:
            raise BadInputError(
                f"{display(was.path)} changed since it was indexed ({was.size_bytes} bytes then, "
                f"{now.size_bytes} bytes now); make the index again"
            )
        self._checked.add(tar)

    def _read(self, runs: list[_Run], window: memoryview) -> None:
        ranged: list[_Run] = []
        for run in runs:
            if self._is_ranged(run.tar):
                ranged.append(run)
                continue
            source = self.source(run.tar)
            assert source.fd is not None
            places = [window[place] for place in run.places]
            num_bytes = os.preadv(source.fd, places, run.offset)
            source.count_read(num_bytes)
            if num_bytes != run.num_bytes:
                (data,) = source.read_ranges([(run.offset, run.num_bytes)])
                _scatter(data, places)
        if ranged:
            list(self._threads.map(self._check, {run.tar for run in ranged}))
            asked = [(self._tars[run.tar].input.path, run.offset, run.num_bytes) for run in ranged]
            self._num_read_before += sum(run.num_bytes for run in ranged)
            for run, data in zip(ranged, read_many(asked), strict=True):
                _scatter(data, [window[place] for place in run.places])


def _close(opened: dict[int, Source], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for source in opened.values():
        source.close()


def _scatter(data: bytes, places: list[memoryview]) -> None:
    at = 0
    for place in places:
        place[:] = data[at : at + len(place)]
        at += len(place)


def _cut(lengths: Array) -> list[tuple[int, int]]:
    """Cut samples into windows that fit into memory; a larger sample is one by itself."""
    cuts = [0]
    held_bytes = 0
    for number, length in enumerate(lengths.tolist()):
        if number - cuts[-1] == WINDOW_SAMPLES or held_bytes + length > WINDOW_BYTES:
            if number > cuts[-1]:
                cuts.append(number)
            held_bytes = 0
        held_bytes += length
    return list(zip(cuts, [*cuts[1:], len(lengths)], strict=True))


def _runs(rows: Array) -> list[_Run]:
    ends = np.cumsum(rows["length"], dtype=np.int64)
    begins = ends - rows["length"].astype(np.int64)
    order = np.lexsort((rows["offset"], rows["tar"]))
    runs: list[_Run] = []
    tar = next_offset = -1
    for number, offset, length, begin, end in zip(
        rows["tar"][order].tolist(),
        rows["offset"][order].tolist(),
        rows["length"][order].tolist(),
        begins[order].tolist(),
        ends[order].tolist(),
        strict=True,
    ):
        place = slice(begin, end)
        if number == tar and offset == next_offset and len(runs[-1].places) < _MAX_PIECES:
            last = runs[-1]
            last.places.append(place)
            runs[-1] = last._replace(num_bytes=last.num_bytes + length)
        else:
            runs.append(_Run(number, offset, length, [place]))
        tar, next_offset = number, offset + length
    return runs
