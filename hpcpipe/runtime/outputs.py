"""Staged outputs: written under a temporary name, published only when the shard commits.

A local output is written beside its final place as ``.NAME.ATTEMPT.part`` (which matches no
``*.tar``), synced, and renamed after the fence; the next attempt removes what an older one left.
A remote output is written to the worker's scratch folder and put to its final key in one go.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from hpcpipe.errors import ConfigError, HpcPipeError, OutageError, TransientShardError
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.formats.remote_errors import outages, worded_safely
from hpcpipe.manifest.files import fsync_dir, rename
from hpcpipe.runtime.staged_file import StagedFile


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
            OutageError: the output folder is gone, or may not be written any more.
            OSError: it cannot be created.
        """
        check_name(name)
        if self.remote:
            return StagedFile(name, scratch / f"{name.replace('/', '%')}.part", self._checksum)
        final = Path(self.root, *PurePosixPath(name).parts)
        with self._outages():
            if final.parent not in self._made:
                self._make(final.parent)
                self._made.add(final.parent)
            # Of this number, too: an older run's worker may still write to it.
            for number in range(1, attempt + 1):
                temp_path(final, number).unlink(missing_ok=True)
            return StagedFile(name, temp_path(final, attempt), self._checksum)

    def unstage(self, name: str, attempts: Iterable[int]) -> None:
        """Remove what attempts have staged of an output, so that it cannot get its name any more.

        Args:
            name: final path relative to the folder.
            attempts: their numbers.

        Returns:
            Nothing; what is staged for a remote folder is on other machines, and stays.

        Raises:
            OSError: it cannot be removed.
        """
        for number in () if self.remote else attempts:
            temp_path(Path(self.root, name), number).unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder below the output folder: itself is there, or its filesystem is not."""
        if folder == Path(self.root):
            return
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            self._made.clear()
            where = error.filename or self.root
            raise OutageError(
                f"{where}: {error.strerror}. Is the filesystem of {self.root} mounted on "
                f"{socket.gethostname()}, and may you write there?"
            ) from error

    def publish(self, files: list[StagedFile], fence: Callable[[], None]) -> None:
        """Give staged files their final names.

        Args:
            files: all outputs of one attempt.
            fence: raises where the attempt is not ours any more.

        Raises:
            OutageError: the output folder is gone, may not be written any more, or its store is
                down.
            OSError: a file cannot be made durable or be renamed.
            TransientShardError: a remote file did not arrive whole.
        """
        with self._outages():
            for file in files:
                file.flush()
                file.close(sync=not self.remote)
        fence()
        if self.remote:
            for file in files:
                self._put(file)
            return
        finals = [Path(self.root, file.name) for file in files]
        with self._outages():
            for file, final in zip(files, finals, strict=True):
                rename(file.temp, final, file.inode)
            for folder in {final.parent for final in finals}:
                fsync_dir(folder)

    def _put(self, file: StagedFile) -> None:
        url = self.open_path(file.name)
        try:
            fs, key = filesystem(url)
            with outages(url):
                fs.put_file(str(file.temp), key)
                fs.invalidate_cache()
                size_bytes = fs.info(key)["size"]
        except HpcPipeError:
            raise
        except Exception as error:
            reason = f"{display(url)} could not be written: {worded_safely(error)}"
            if isinstance(error, FileNotFoundError | PermissionError):
                raise OutageError(f"{reason}. May you write to {display(self.root)}?") from error
            raise TransientShardError(reason) from error
        if size_bytes != file.tell():
            raise TransientShardError(
                f"{display(url)}: {size_bytes} bytes arrived of {file.tell()}"
            )
        file.temp.unlink(missing_ok=True)


def temp_path(final: Path, attempt: int) -> Path:
    """Temporary name of a local output in one attempt. Raises nothing."""
    return final.with_name(f".{final.name}.{attempt}.part")
