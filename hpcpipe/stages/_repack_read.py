"""Reading samples from many tars: only their bytes, sorted by place, several at a time.

A window of the output is filled from all the tars it needs. Local tars are read with ``preadv``
straight into the window by a few threads, so that the latency of a shared filesystem is paid
once for many; remote ones by concurrent range requests.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpcpipe.errors import BadInputError
from hpcpipe.formats.ids import Array
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote import display, is_remote, read_many
from hpcpipe.formats.sampleindex import Tar
from hpcpipe.formats.source import GZIP_SUFFIXES, Source, open_source

NUM_THREADS = 8
MAX_OPEN = 128
MAX_OPEN_GZIP = 2
_MAX_PIECES = 512
_MIN_RUNS_PER_THREAD = 8


class _Run(NamedTuple):
    """Neighbouring samples in one tar: one read into several places of the window."""

    tar: int
    offset: int
    num_bytes: int
    places: list[memoryview]


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
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(NUM_THREADS, "hpcpipe-read")
        weakref.finalize(self, _close, self._open, self._threads)

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
            TransientShardError: a remote store failed.
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
        packed = [t for t in self._open if self._tars[t].input.path.endswith(GZIP_SUFFIXES)]
        plain = [t for t in self._open if t not in set(packed)]
        for numbers, limit in ((packed, MAX_OPEN_GZIP), (plain, MAX_OPEN)):
            for tar in numbers[: max(0, len(numbers) - limit)]:
                self._open.pop(tar).close()

    def read(self, rows: Array, window: memoryview) -> None:
        """Fill a window with samples, one behind the other.

        Args:
            rows: `sampleindex.SAMPLE_DTYPE` (N,), in the order wanted.
            window: room for exactly all of them.

        Raises:
            BadInputError: a tar is gone, changed, or too short.
            TransientShardError: a remote store failed.
            OSError: reading failed.
        """
        local: list[_Run] = []
        remote: list[_Run] = []
        for run in _runs(rows, window):
            path = self._tars[run.tar].input.path
            is_ranged = is_remote(path) and not path.endswith(GZIP_SUFFIXES)
            (remote if is_ranged else local).append(run)
        for tar in {run.tar for run in local}:
            if self._tars[tar].input.path.endswith(GZIP_SUFFIXES):
                self.source(tar)  # decompressed once, not by each thread
        step = max(_MIN_RUNS_PER_THREAD, -(-len(local) // NUM_THREADS))
        parts = [local[at : at + step] for at in range(0, len(local), step)]
        if len(parts) > 1:
            list(self._threads.map(self._read_local, parts))
        elif parts:
            self._read_local(parts[0])
        if remote:
            self._read_remote(remote)
        self.close_some()

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

    def _read_local(self, runs: list[_Run]) -> None:
        for run in runs:
            source = self.source(run.tar)
            assert source.fd is not None
            if os.preadv(source.fd, run.places, run.offset) != run.num_bytes:
                (data,) = source.read_ranges([(run.offset, run.num_bytes)])
                _scatter(data, run.places)

    def _read_remote(self, runs: list[_Run]) -> None:
        list(self._threads.map(self._check, {run.tar for run in runs}))
        ranges = [(self._tars[run.tar].input.path, run.offset, run.num_bytes) for run in runs]
        for run, data in zip(runs, read_many(ranges), strict=True):
            _scatter(data, run.places)


def _close(opened: dict[int, Source], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for source in opened.values():
        source.close()


def _scatter(data: bytes, places: list[memoryview]) -> None:
    at = 0
    for place in places:
        place[:] = data[at : at + len(place)]
        at += len(place)


def _runs(rows: Array, window: memoryview) -> list[_Run]:
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
        place = window[begin:end]
        if number == tar and offset == next_offset and len(runs[-1].places) < _MAX_PIECES:
            last = runs[-1]
            last.places.append(place)
            runs[-1] = last._replace(num_bytes=last.num_bytes + length)
        else:
            runs.append(_Run(number, offset, length, [place]))
        tar, next_offset = number, offset + length
    return runs
