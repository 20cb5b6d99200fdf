"""One submission at a time: who comes second is told so, and submits nothing twice.

Nothing rests on it but that: workers that were submitted twice do no shard twice.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hpcpipe.errors import LaunchError
from hpcpipe.manifest.files import JSON_ERRORS, publish_new
from hpcpipe.manifest.identity import (
    Identity,
    is_of_an_earlier_boot,
    own_identity,
    process_runs,
)
from hpcpipe.runtime.access import user_name

FILE = "launching.json"


@contextlib.contextmanager
def launching(folder: Path) -> Iterator[None]:
    """Be the only one who submits jobs of a run or pipeline.

    Args:
        folder: its directory.

    Yields:
        Nothing.

    Raises:
        LaunchError: somebody else is at it, or may be.
        OSError: the folder cannot be written.
    """
    again = "wait for the end of that, then launch again, which adds what is missing"
    with alone(folder / FILE, "is launching it just now", again):
        yield


@contextlib.contextmanager
def alone(path: Path, doing: str, advice: str) -> Iterator[None]:
    """Be the only one who does something; who was killed on this machine keeps nobody out.

    Args:
        path: file that stands for it; it must be in a folder that all share.
        doing: what others are told that one does.
        advice: what they are told to do.

    Yields:
        Nothing.

    Raises:
        LaunchError: somebody else is at it, or may be.
        OSError: the folder cannot be written.
    """
    own = msgspec.json.encode(own_identity("launch", user_name(), 0))
    while True:
        try:
            publish_new(path, own)
            break
        except FileExistsError:
            _check_gone(path, doing, advice)
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _check_gone(path: Path, doing: str, advice: str) -> None:
    """Refuse to go on unless the process that made the file is gone, or the file is."""
    try:
        owner = msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return
    except JSON_ERRORS:
        who = "somebody"
    else:
        if process_runs(owner) is False or is_of_an_earlier_boot(owner):
            return
        who = f"{owner.label} on {owner.host} (process {owner.pid})"
    raise LaunchError(f"{who} {doing}: {advice}. If it is not so, remove {path}")
