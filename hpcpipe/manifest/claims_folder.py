"""The folder that claims are made in: opened for a run that has work left, closed after its end.

The first is called ``claims``. Closing renames it to ``claims.closed`` and empties it; where the
run has work again, claims are made in ``claims-2``, and so on. A name is never used again, so that
a worker who slept through the end of its run, and perhaps through a new beginning, neither takes
nor holds a claim by what it knew.
"""

import contextlib
import logging
import os
import re
import shutil
from pathlib import Path

from hpcpipe.manifest.files import FOLDER_MODE, nonce

logger = logging.getLogger(__name__)

FAN_OUT = 256
_CLOSED = re.compile(r"claims(?:-(\d+))?\.closed")
_BEING_OPENED = re.compile(r"\.claims-(\d+)\.[0-9a-f]{8}")


def make_claims_folder(folder: Path) -> None:
    """Make a folder for claims with all that is in it.

    Args:
        folder: does not exist yet.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(FOLDER_MODE)
    for number in range(FAN_OUT):
        (folder / f"{number:02x}").mkdir(FOLDER_MODE)


def claims_folder(run_dir: Path) -> Path:
    """Name the folder that claims are made in now.

    Args:
        run_dir: the run directory.

    Returns:
        The folder; it does not exist while the run is closed.

    Raises:
        OSError: the run directory cannot be read.
    """
    number = max(_closed(run_dir), default=0) + 1
    return run_dir / (f"claims-{number}" if number > 1 else "claims")


def _closed(run_dir: Path) -> dict[int, Path]:
    """Folders that were closed, by their number."""
    matches = filter(None, map(_CLOSED.fullmatch, os.listdir(run_dir)))
    return {int(match[1] or 1): run_dir / match[0] for match in matches}


def open_claims(run_dir: Path) -> Path:
    """Make the folder for claims where there is none: the run has work.

    Args:
        run_dir: the run directory.

    Returns:
        The folder, which somebody else may have made.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = claims_folder(run_dir)
        if folder.is_dir():
            return folder
        temp = run_dir / f".{folder.name}.{nonce()}"
        try:
            # It is not found where its name was closed meanwhile, see `close_claims`.
            with contextlib.suppress(FileExistsError, FileNotFoundError, NotADirectoryError):
                make_claims_folder(temp)
                _rename_folder(temp, folder)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        if claims_folder(run_dir) == folder:
            return folder
        # Closed meanwhile, by somebody who had opened it before: that name is used up.
        shutil.rmtree(folder, ignore_errors=True)


def _rename_folder(old: Path, new: Path) -> None:
    """Rename; a network filesystem may report failure after it succeeded."""
    inode = old.stat().st_ino
    try:
        os.rename(old, new)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            if new.stat().st_ino == inode:
                return
            raise FileExistsError(error.errno, error.strerror, str(new)) from error
        raise


def close_claims(run_dir: Path) -> None:
    """Take all claims away, once the run is over; what was left by who was killed at it goes, too.

    Args:
        run_dir: the run directory.

    Raises:
        OSError: the folder cannot be renamed.
    """
    folder = claims_folder(run_dir)
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        _rename_folder(folder, folder.with_name(f"{folder.name}.closed"))
    closed = _closed(run_dir)
    for number, path in closed.items():
        _remove(list(path.iterdir()) if number == max(closed) else [path])
    matches = filter(None, map(_BEING_OPENED.fullmatch, os.listdir(run_dir)))
    _remove([run_dir / match[0] for match in matches if int(match[1]) <= max(closed, default=0)])


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, onerror=_tell)


def _tell(call: object, path: str, why: tuple[type, BaseException, object]) -> None:
    if not isinstance(why[1], FileNotFoundError):
        logger.warning("%s is left over: %s", path, why[1])
