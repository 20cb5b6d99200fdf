"""Small durable file operations that the manifest is made of."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

import msgspec

from hpcpipe.errors import naming

JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
"""What damaged JSON raises; bytes that are no UTF-8 raise none of msgspec's own errors."""

NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EACCES})
"""What filesystems say that have no hard links."""


FILE_MODE, FOLDER_MODE = 0o664, 0o775
"""Less the umask; never for everybody to write: workers run what a run directory names."""


def nonce() -> str:
    """Give 8 random hex digits, to tell apart files and workers of one name. Raises nothing."""
    return secrets.token_hex(4)


def printable(text: str) -> str:
    """Write bytes that were no UTF-8 (surrogates in file names) as escapes. Raises nothing."""
    return text.encode("utf-8", "backslashreplace").decode()


def fsync_dir(path: Path) -> None:
    """Make the names in a folder durable; some filesystems refuse that, and are left to it.

    Args:
        path: the folder.

    Raises:
        OSError: the folder cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _FSYNC_REFUSED:
            naming(error, path)
            raise
    finally:
        os.close(fd)


def write_new(path: Path, data: bytes) -> int:
    """Write a file that must not exist yet, durably.

    Args:
        path: its final name.
        data: its whole content.

    Returns:
        Its inode number.

    Raises:
        FileExistsError: it exists; nothing was changed.
        OSError: it could not be written; what was written of it is removed.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
            return os.fstat(fd).st_ino
        finally:
            os.close(fd)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        naming(error, path)
        raise


def publish_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, durably; it appears whole or not at all.

    Args:
        path: its final name.
        data: its whole content.

    Raises:
        FileExistsError: it exists; nothing was changed.
        OSError: it could not be written.
    """
    temp = path.with_name(f".{path.name}.{nonce()}")
    write_new(temp, data)
    publish_file(temp, path)


def publish_file(temp: Path, path: Path) -> None:
    """Give a finished temporary file its final name, which must not be taken yet.

    Args:
        temp: the file, in the same folder; it is removed, whatever happens.
        path: its final name.

    Raises:
        FileExistsError: the name is taken; nothing was changed.
        OSError: it could not be published.
    """
    try:
        os.link(temp, path)
    except OSError as error:
        if not _are_one_file(temp, path):
            if error.errno not in NO_LINKS:
                raise
            write_new(path, temp.read_bytes())
    finally:
        with contextlib.suppress(OSError):
            temp.unlink()
    fsync_dir(path.parent)


def _are_one_file(one: Path, two: Path) -> bool:
    """Whether a link that was reported to have failed is there all the same."""
    try:
        return os.path.samefile(one, two)
    except OSError:
        return False


def rename(temp: Path, path: Path, inode: int) -> None:
    """Rename a file; a network filesystem may report failure after it succeeded.

    Args:
        temp: the file.
        path: its final name; an older file there is replaced in one step.
        inode: the file's inode number.

    Raises:
        OSError: it does not have its final name.
    """
    try:
        os.rename(temp, path)
    except OSError:
        if not _has_inode(path, inode):
            raise


def _has_inode(path: Path, inode: int) -> bool:
    try:
        return os.stat(path).st_ino == inode
    except OSError:
        return False


def replace(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, durably, and rename it into place.

    Args:
        path: its final name; an older file there is replaced in one step.
        data: its whole content.

    Raises:
        OSError: it could not be written; the older file is untouched.
    """
    temp = path.with_name(f".{path.name}.{nonce()}")
    inode = write_new(temp, data)
    try:
        rename(temp, path, inode)
    except OSError:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    fsync_dir(path.parent)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte, however many calls the system makes of it.

    Args:
        fd: an open file.
        data: what to append at its position.

    Raises:
        OSError: writing failed; a part may be written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


_FSYNC_REFUSED = frozenset({22, 38, 95})  # EINVAL, ENOSYS, EOPNOTSUPP
