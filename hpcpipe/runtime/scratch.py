"""Node-local scratch folders: made for one worker, and removed by a later one where it was killed.

A folder names its owner in a file of its own, so that nothing is removed that a living process, or
anybody else, may use.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hpcpipe.errors import SetupError
from hpcpipe.manifest.files import JSON_ERRORS
from hpcpipe.manifest.identity import Identity, is_of_an_earlier_boot, process_runs

PREFIX = "hpcpipe-"
OWNER_FILE = ".owner.json"
_MIN_FREE_BYTES = 1 << 20
_MAX_OWNER_BYTES = 64 << 10


class Owner(msgspec.Struct, frozen=True):
    """Whose a scratch folder is.

    Attributes:
        identity: the worker.
        run_dir: its run directory.
    """

    identity: Identity
    run_dir: str


def scratch_root(configured: str | None) -> Path:
    """Folder for node-local scratch: the configured one, $SLURM_TMPDIR, $TMPDIR or /tmp.

    Args:
        configured: ``run.scratch``.

    Returns:
        The folder; variables count only where they name a folder that can be written, for they
        may come from the login node.

    Raises:
        Nothing.
    """
    if configured:
        return Path(configured)
    candidates = (os.environ.get("SLURM_TMPDIR"), os.environ.get("TMPDIR"), "/tmp")
    usable = (name for name in candidates if name and os.access(name, os.W_OK | os.X_OK))
    return Path(next(usable, "/tmp"))


def make_scratch(root: Path, identity: Identity, run_dir: Path) -> Path:
    """Make a worker's scratch folder, after removing what dead workers left on this node.

    Args:
        root: folder to make it in.
        identity: the worker.
        run_dir: its run directory.

    Returns:
        The folder, for this user alone.

    Raises:
        SetupError: there is no such folder on this node, it may not be written, or it is full.
    """
    try:
        for path, _ in dead_folders(root):
            shutil.rmtree(path, ignore_errors=True)
        disk = os.statvfs(root)
        if disk.f_bavail * disk.f_frsize < _MIN_FREE_BYTES:
            raise _unusable(root, "is full")
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{identity.label}-", dir=root))
        try:
            (folder / OWNER_FILE).write_bytes(msgspec.json.encode(Owner(identity, str(run_dir))))
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise _unusable(root, f"cannot be used: {error.strerror}") from error
    return folder


def _unusable(root: Path, what: str) -> SetupError:
    return SetupError(
        f"scratch folder {root} {what}, on node {socket.gethostname()}. Set run.scratch to a "
        "node-local folder that every node has, writable and with room"
    )


def dead_folders(root: Path) -> Iterator[tuple[Path, Owner]]:
    """Find scratch folders of this user's workers on this machine that ended without removing them.

    Args:
        root: folder that scratch folders are made in.

    Yields:
        Folders, with whose they were.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(root) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            owner = _read_owner(Path(entry.path))
            if owner is not None and _is_dead(owner.identity):
                yield Path(entry.path), owner


def _read_owner(folder: Path) -> Owner | None:
    """Whose a folder is, if this very user said so: anybody may put folders into /tmp."""
    try:
        if folder.lstat().st_uid != os.getuid():
            return None
        fd = os.open(folder / OWNER_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(fd, "rb") as file:
        if os.fstat(fd).st_uid != os.getuid():
            return None
        try:
            return msgspec.json.decode(file.read(_MAX_OWNER_BYTES), type=Owner)
        except (OSError, *JSON_ERRORS):
            return None


def _is_dead(identity: Identity) -> bool:
    runs = process_runs(identity)
    return is_of_an_earlier_boot(identity) if runs is None else not runs
