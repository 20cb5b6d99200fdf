"""Who may write to a run: several users of one group, and folders that were moved away."""

import contextlib
import getpass
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.errors import SetupError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.marker import FOLDER as MARKER_FOLDER
from hpcpipe.manifest.marker import read_marker
from hpcpipe.manifest.rundir import FOLDERS, RunDir


def user_name() -> str:
    """Name the user of this process; the number where it has no name (in some containers).

    Returns:
        The name.

    Raises:
        Nothing.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def check_access(run: RunDir) -> str:
    """Make sure that this user may write wherever a worker has to, and not everybody may.

    Args:
        run: the run directory.

    Returns:
        What was found and mended, for people; empty where all was well.

    Raises:
        SetupError: a folder may not be written, or everybody may write there and only another user
            can change that; the message says who, and how.
    """
    folders = [run.path, *(run.path / name for name in FOLDERS), run.claims / "00"]
    if not is_remote(run.info.output):
        folders.append(Path(run.info.output))
    check_writable(run, *folders)
    return _close_to_others(run)


def check_writable(run: RunDir, *folders: Path) -> None:
    """Make sure that this user may write to folders of a run.

    Args:
        run: the run directory.
        *folders: folders in it, or its output folder; those that are missing are passed over.

    Returns:
        Nothing.

    Raises:
        SetupError: one may not be written; the message says whose it is, and what they can do.
    """
    for folder in folders:
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise SetupError(_refusal(folder, run))


def _close_to_others(run: RunDir) -> str:
    """A launch's file names the class that its workers import, and submitit's pickles are code."""
    open_folders = [path for path in (run.path, run.launches) if _is_open(path)]
    if not open_folders:
        return ""
    owner = owner_of(open_folders[0])
    try:
        for path in open_folders:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_IWOTH)
    except PermissionError as error:
        raise SetupError(
            f"{open_folders[0]} can be written by every user of this system, who could have "
            f"workers run their code as you. {owner} types: chmod -R o-w {run.path}"
        ) from error
    if any(map(_is_open, open_folders)):
        return f"{open_folders[0]} can be written by everybody, and its filesystem keeps it so"
    return (
        f"{open_folders[0]} could be written by every user of this system, and no longer can; "
        f"see whether there are files in {run.launches} that are not yours"
    )


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IWOTH)


def check_output(run: RunDir) -> None:
    """Make sure that this node sees the run's output folder, and not the place of its filesystem.

    Args:
        run: the run directory.

    Returns:
        Nothing.

    Raises:
        SetupError: a local folder lacks the file by which the launch made it the run's.
        OSError: it cannot be read.
    """
    output, stage = run.info.output, run.info.stage
    if not is_remote(output) and read_marker(output, stage) is None:
        raise SetupError(
            f"{output} lacks {MARKER_FOLDER}/{stage}.json, which the launch wrote: is its "
            f"filesystem mounted on {socket.gethostname()}?"
        )


def _refusal(folder: Path, run: RunDir) -> str:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"{folder} is on a filesystem that is mounted read-only here"
    info = folder.stat()
    owner, group = owner_of(folder), _name_of_group(info.st_gid)
    top = run.path if folder.is_relative_to(run.path) else folder
    share = f"chmod -R g+rwX {top}"
    if info.st_gid not in {os.getegid(), *os.getgroups()}:
        share = f"chgrp -R GROUP {top} && {share}"
    return (
        f"{folder} may not be written by {user_name()}: it belongs to {owner} "
        f"(group {group}, {stat.filemode(info.st_mode)}). To work on one run together, {owner} "
        f"types: {share}; and everybody sets umask 002 before launching"
    )


def owner_of(path: Path) -> str:
    """Name the user that a file belongs to.

    Args:
        path: a file or folder.

    Returns:
        The name; the number where it has none.

    Raises:
        OSError: there is no such file.
    """
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _name_of_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


@contextlib.contextmanager
def explaining_moves(run: RunDir) -> Iterator[None]:
    """Say it where work fails because the run directory was moved or removed meanwhile.

    Args:
        run: the run directory.

    Yields:
        Nothing.

    Raises:
        SetupError: the run directory is gone.
        OSError: it is there, or nobody knows, and something failed.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if not _is_gone(run):
            raise
        raise SetupError(
            f"run directory {run.path} was moved or removed while this worker was at work, which "
            "stops here; what is finished is recorded. Where it was moved: launch again with "
            "run_dir=PLACE, its new place"
        ) from error


def _is_gone(run: RunDir) -> bool:
    """Whether the filesystem answers that there is no such run any more."""
    try:
        os.stat(run.path / "run.json")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
