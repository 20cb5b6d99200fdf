"""Staged outputs: written under a temporary name, published only when the shard commits.

A local output is written beside its final place as ``.NAME.ATTEMPT.part`` (which matches no
``*.tar``), synced, and renamed after the fence; the next attempt removes what an older one left.
A remote output is written to the worker's scratch folder and put to its final key in one go.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Protocol

import xxhash

from hpcpipe.errors import BadInputError, ConfigError, TransientShardError
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.manifest.files import fsync_dir, write_all
from hpcpipe.stage import OutputFile

COPY_BYTES = 256 << 10
"""Small writes are gathered to this, which stays in a core's cache between reading and writing."""

WRITE_BYTES = 1 << 20
"""Most that one system call is given: larger ones were seen to be three times slower."""


class _Hasher(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


CHECKSUMS: dict[str, Callable[[], _Hasher]] = {
    "xxh3_128": xxhash.xxh3_128,
    "sha256": hashlib.sha256,
}
"""Content checksums by name; xxh3_128 costs a few percent of a copy, sha256 many times that."""


def check_name(name: str) -> str:
    """Refuse an output name that would not stay inside the output folder.

    Args:
        name: path relative to the output folder.

    Returns:
        The same name.

    Raises:
        ConfigError: it is empty, absolute, or has ``.``, ``..`` or hidden components.
    """
    parts = name.split("/")
    if not name.isprintable() or any(not part or part.startswith(".") for part in parts):
        raise ConfigError(
            f"output name {name!r}: it must be a relative path of plain, visible names"
        )
    return name


class StagedFile:
    """One output in the making; what `Stage.process` writes to.

    Attributes:
        name: final path relative to the output folder.
        num_samples: samples in it, for the manifest.
    """

    def __init__(self, name: str, temp: Path, checksum: str) -> None:
        """Create the temporary file.

        Args:
            name: final path relative to the output folder.
            temp: where it is written.
            checksum: one of `CHECKSUMS`.

        Raises:
            OSError: it cannot be created.
        """
        self.name = name
        self.num_samples: int | None = None
        self.temp = temp
        self._algorithm = checksum
        self._hasher = CHECKSUMS[checksum]()
        self._size_bytes = 0
        self._buffer = memoryview(bytearray())
        self._num_buffered = 0
        self.fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes.

        Args:
            data: any contiguous buffer.

        Returns:
            Their number.

        Raises:
            OSError: writing failed.
        """
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        num_bytes = len(data)
        start = self._num_buffered
        if start + num_bytes > len(self._buffer):
            self.flush()
            start = 0
            if num_bytes >= COPY_BYTES:
                self._append(data)
                return num_bytes
        self._buffer[start : start + num_bytes] = data
        self._num_buffered = start + num_bytes
        return num_bytes

    def copy_range(self, fd: int, offset_bytes: int, num_bytes: int) -> None:
        """Append a byte range of an open local file.

        Args:
            fd: the file.
            offset_bytes: where the range begins.
            num_bytes: its length.

        Raises:
            BadInputError: the file ends before the range does.
            OSError: reading or writing failed.
        """
        end = offset_bytes + num_bytes
        while offset_bytes < end:
            start = self._num_buffered
            if start == len(self._buffer):
                self.flush()
                start = 0
            room = self._buffer[start : start + end - offset_bytes]
            num_read = os.preadv(fd, [room], offset_bytes)
            if num_read == 0:
                raise BadInputError(f"an input ends at byte {offset_bytes}, {end} were expected")
            self._num_buffered = start + num_read
            offset_bytes += num_read

    def flush(self) -> None:
        """Hand what is buffered to the system.

        Raises:
            OSError: writing failed.
        """
        if self._num_buffered:
            self._append(self._buffer[: self._num_buffered])
            self._num_buffered = 0
        elif not self._buffer:
            self._buffer = memoryview(bytearray(COPY_BYTES))

    def _append(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            piece = view[start : start + WRITE_BYTES]
            write_all(self.fd, piece)
            self._hasher.update(piece)
            self._size_bytes += len(piece)

    def tell(self) -> int:
        """Number of bytes written so far. Raises nothing."""
        return self._size_bytes + self._num_buffered

    def close(self, *, sync: bool) -> None:
        """Close the temporary file; what is buffered and not flushed is given up.

        Args:
            sync: make its content durable first.

        Raises:
            OSError: the filesystem reports a late write error.
        """
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def record(self) -> OutputFile:
        """What the manifest says of it. Raises nothing."""
        return OutputFile(
            path=self.name,
            size_bytes=self._size_bytes,
            checksum=f"{self._algorithm}:{self._hasher.hexdigest()}",
            num_samples=None if self.num_samples is None else int(self.num_samples),
        )


class OutputFolder:
    """The output folder of a run, local or remote."""

    def __init__(self, root: str, checksum: str) -> None:
        """Start.

        Args:
            root: absolute path or URL.
            checksum: one of `CHECKSUMS`.

        Raises:
            Nothing.
        """
        self.root = root.rstrip("/")
        self.remote = is_remote(root)
        self._checksum = checksum
        self._made: set[Path] = set()

    def open_path(self, name: str) -> str:
        """Absolute path or URL of an output. Raises nothing."""
        return f"{self.root}/{name}"

    def stage(self, name: str, attempt: int, scratch: Path) -> StagedFile:
        """Open a staged output.

        Args:
            name: final path relative to the folder.
            attempt: the attempt's number; older attempts' leftovers are removed.
            scratch: local folder of the shard, for remote outputs.

        Returns:
            The file to write to.

        Raises:
            ConfigError: the name leaves the folder.
            OSError: it cannot be created.
        """
        check_name(name)
        if self.remote:
            return StagedFile(name, scratch / f"{name.replace('/', '%')}.part", self._checksum)
        final = Path(self.root, *PurePosixPath(name).parts)
        if final.parent not in self._made:
            final.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(final.parent)
        # Of this number, too: an older run's worker may still write to it.
        for number in range(1, attempt + 1):
            temp_path(final, number).unlink(missing_ok=True)
        return StagedFile(name, temp_path(final, attempt), self._checksum)

    def publish(self, files: list[StagedFile], fence: Callable[[], None]) -> None:
        """Give staged files their final names.

        Args:
            files: all outputs of one attempt.
            fence: raises where the attempt is not ours any more.

        Raises:
            OSError: a file cannot be made durable or be renamed.
            TransientShardError: a remote file did not arrive whole.
        """
        for file in files:
            file.flush()
            file.close(sync=not self.remote)
        fence()
        if self.remote:
            for file in files:
                self._put(file)
            return
        finals = [Path(self.root, file.name) for file in files]
        for file, final in zip(files, finals, strict=True):
            _rename(file.temp, final)
        for folder in {final.parent for final in finals}:
            fsync_dir(folder)

    def _put(self, file: StagedFile) -> None:
        url = self.open_path(file.name)
        try:
            fs, key = filesystem(url)
            fs.put_file(str(file.temp), key)
            fs.invalidate_cache()
            size_bytes = fs.info(key)["size"]
        except Exception as error:
            reason = f"{display(url)} could not be written: {type(error).__name__}: {error}"
            raise TransientShardError(reason) from error
        if size_bytes != file.tell():
            raise TransientShardError(
                f"{display(url)}: {size_bytes} bytes arrived of {file.tell()}"
            )
        file.temp.unlink(missing_ok=True)


def temp_path(final: Path, attempt: int) -> Path:
    """Temporary name of a local output in one attempt. Raises nothing."""
    return final.with_name(f".{final.name}.{attempt}.part")


def _rename(temp: Path, final: Path) -> None:
    """Rename; a network filesystem may report failure after it succeeded."""
    wanted = temp.stat().st_ino
    try:
        os.rename(temp, final)
    except OSError as error:
        if error.errno == errno.ENOENT and final.exists() and final.stat().st_ino == wanted:
            return
        raise
