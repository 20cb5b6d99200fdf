"""Where edits come from: the loose files of a folder, or the members of a tar.

Remote edits are copied to a local folder first. What belongs to which sample is for ``edits``.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display, filesystem
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.formats.source import open_source
from hpcpipe.formats.tar import scan

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NOT_A_FILE = frozenset((errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG))


class Edit(msgspec.Struct, gc=False):
    """One new member of a sample.

    Attributes:
        name: its name in the edits.
        extension: as written.
        offset: where its content begins, in a tar; 0 for a loose file.
        size: content bytes; -1 where that is known only when it is opened.
        content: the content, of edits that lie in no file.
    """

    name: str
    extension: str
    offset: int
    size: int
    content: bytes = b""


class Origin(Protocol):
    """Where edits come from."""

    path: str

    @property
    def num_read(self) -> int:
        """Bytes read so far, all contents that were opened included; or what was fetched."""

    def names(self) -> Iterator[tuple[str, int, int]]:
        """Name, offset and size (-1: unknown) of every regular file; others have offset -1."""

    def open(self, edit: Edit) -> tuple[int, int, int]:
        """Descriptor, offset and size of an edit's content."""

    def release(self, fd: int) -> None:
        """Take back a descriptor that `open` gave."""

    def close(self) -> None:
        """Close what is open."""


class LooseFiles:
    """Edits as the regular files of a folder and of the folders in it; links are not followed.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str, fetched_bytes: int | None = None) -> None:
        """Open the folder.

        Args:
            path: local folder.
            fetched_bytes: what was fetched to make it; None where it is not a copy.

        Raises:
            BadInputError: it is gone or may not be read.
            OSError: opening failed.
        """
        self.path = path
        self._fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, None, path)
        self._fetched_bytes = fetched_bytes
        self._num_opened_bytes = 0

    @property
    def num_read(self) -> int:
        """Bytes of the files opened so far, or of all where they were fetched."""
        return self._num_opened_bytes if self._fetched_bytes is None else self._fetched_bytes

    def names(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, 0 and -1 of each file; offset -1 for what is no regular file.

        Raises:
            BadInputError: a folder in it may not be read.
            OSError: reading failed.
        """
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                with os.scandir(os.path.join(self.path, prefix)) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            yield prefix + entry.name, 0, -1
                        elif entry.is_dir(follow_symlinks=False):
                            pending.append(f"{prefix}{entry.name}/")
                        else:
                            yield prefix + entry.name, -1, -1
            except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
                where = os.path.join(self.path, prefix)
                raise BadInputError(f"{where} cannot be read: {error.strerror}") from error

    def open(self, edit: Edit) -> tuple[int, int, int]:
        """Open a file.

        Args:
            edit: which.

        Returns:
            Descriptor, 0, and its size in bytes.

        Raises:
            BadInputError: it is gone, may not be read, or is no regular file.
            OSError: opening failed.
        """
        fd = _open(edit.name, _OPEN_FLAGS, self._fd, f"{self.path}/{edit.name}")
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise BadInputError(f"{self.path}/{edit.name} is not a regular file")
        self._num_opened_bytes += info.st_size
        return fd, 0, info.st_size

    def release(self, fd: int) -> None:
        """Close a file that `open` gave. Raises OSError."""
        os.close(fd)

    def close(self) -> None:
        """Close the folder. Raises OSError."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class TarFile:
    """Edits as the members of one local tar.

    Attributes:
        path: the tar.
    """

    def __init__(self, path: str, fetched_bytes: int | None = None) -> None:
        """Open the tar.

        Args:
            path: local tar.
            fetched_bytes: its size where it is a copy of a remote one, else None.

        Raises:
            BadInputError: it is gone or may not be read.
            OSError: opening failed.
        """
        self.path = path
        self._source = open_source(path)
        self._fetched_bytes = fetched_bytes

    @property
    def num_read(self) -> int:
        """Bytes read so far: headers, and contents that were opened; all where it was fetched."""
        return self._source.num_read if self._fetched_bytes is None else self._fetched_bytes

    def names(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, content offset and size of each file; links and the like are passed over.

        Raises:
            BadInputError: the tar is damaged.
            OSError: reading failed.
        """
        for member in scan(self._source, prefetch=True):
            if member.is_file:
                yield member.name, member.data, member.size

    def open(self, edit: Edit) -> tuple[int, int, int]:
        """Give a member's place.

        Args:
            edit: which.

        Returns:
            Descriptor of the tar, the content's offset and size in bytes.

        Raises:
            BadInputError: the tar is no local file.
        """
        if self._source.fd is None:
            raise BadInputError(f"{display(self.path)} is not a local file")
        self._source.count_read(edit.size)
        return self._source.fd, edit.offset, edit.size

    def release(self, fd: int) -> None:
        """Do nothing: the tar stays open. Raises nothing."""

    def close(self) -> None:
        """Close the tar. Raises OSError."""
        self._source.close()


def _open(path: str, flags: int, dir_fd: int | None, shown: str) -> int:
    try:
        return os.open(path, flags, dir_fd=dir_fd)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError)) or (
            error.errno in _NOT_A_FILE
        ):
            raise BadInputError(f"{shown} cannot be read: {error.strerror}") from error
        raise


def open_origin(path: str, scratch: Path | None) -> Origin:
    """Open a tar (by its ending) or a folder of edits.

    Args:
        path: local path or URL; a tar ends in ``.tar``.
        scratch: folder that remote edits are copied to; None for local ones.

    Returns:
        The open origin.

    Raises:
        BadInputError: it is gone, may not be read, or has a file name that cannot be used.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading or copying failed.
    """
    is_tar = path.endswith(".tar")
    if scratch is None:
        return TarFile(path) if is_tar else LooseFiles(path)
    fs, name = filesystem(path)
    target = scratch / ("edits.tar" if is_tar else "edits")
    with remote_errors(path):
        if is_tar:
            fs.get_file(name, str(target))
            return TarFile(str(target), target.stat().st_size)
        target.mkdir()
        names = fs.find(name)
        places = [_local_place(path, target, one[len(name) :].lstrip("/")) for one in names]
        for folder in {place.parent for place in places}:
            folder.mkdir(parents=True, exist_ok=True)
        if names:
            fs.get(names, [str(place) for place in places])
    return LooseFiles(str(target), sum(place.stat().st_size for place in places))


def _local_place(url: str, folder: Path, name: str) -> Path:
    if not name or not {"", ".", ".."}.isdisjoint(name.split("/")) or "\0" in name:
        raise BadInputError(f"{display(url)}: an object has the unsafe name {name!r}")
    return folder / name
