"""Telling an input that is gone from a filesystem or store that is gone."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.errors import HpcPipeError
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote import display, is_remote
from hpcpipe.manifest.plan import Plan

NUM_LOOKED_AT = 16


def gone_filesystem(plan: Plan, index: int) -> str:
    """Say that a shard's inputs are missing for no fault of theirs, after it failed.

    An input that is missing is at fault where other inputs beside it are there. Where none of
    those that are looked at is there, or its folder is gone or empty, its filesystem is; or, of
    an object, its store, or whoever may read there.

    Args:
        plan: the plan.
        index: the shard's position in it.

    Returns:
        What is missing, for people; "" where all inputs can be read, or others can.

    Raises:
        Nothing.
    """
    own = [item.path for item in plan.shard(index).inputs]
    # Of objects, where a look costs a request, the first few tell as much.
    looked_at = [path for n, path in enumerate(own) if n < NUM_LOOKED_AT or not is_remote(path)]
    missing = next((path for path in looked_at if not _can_be_read(path)), None)
    if missing is None:
        return ""
    return _gone_store(missing, plan, index) if is_remote(missing) else _gone(missing, plan, index)


def _gone_store(missing: str, plan: Plan, index: int) -> str:
    others = [path for path in _others(plan, index) if _bucket(path) == _bucket(missing)]
    if not others or any(map(_can_be_read, others)):
        return ""
    return (
        f"{display(missing)} cannot be read, nor any of {len(others)} other inputs that were "
        f"looked at: is {display(_bucket(missing))} there, and may you still read from it?"
    )


def _bucket(path: str) -> str:
    return "/".join(path.split("/", 3)[:3])


def _gone(missing: str, plan: Plan, index: int) -> str:
    folder = _nearest_folder(missing)
    others = [
        path
        for path in _others(plan, index)
        if not is_remote(path) and Path(path).is_relative_to(folder)
    ]
    if any(map(_can_be_read, others)):
        return ""
    if not others and folder == Path(missing).parent and _has_entries(folder):
        return ""
    beside = f" nor any of {len(others)} other inputs that were looked at" * bool(others)
    return (
        f"{missing} cannot be read,{beside or ' and its folder is gone or empty'}: is its "
        f"filesystem mounted on {socket.gethostname()}?"
    )


def _can_be_read(path: str) -> bool:
    try:
        if is_remote(path):
            stat_input(path)
        else:
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except (OSError, HpcPipeError):
        return False
    return True


def _nearest_folder(path: str) -> Path:
    """The innermost folder of a path that exists."""
    return next((folder for folder in Path(path).parents if os.path.isdir(folder)), Path("/"))


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def _others(plan: Plan, index: int) -> Iterator[str]:
    """Inputs of shards from all over the plan."""
    step = max(len(plan) // NUM_LOOKED_AT, 1)
    for other in range(0, len(plan), step):
        if other != index:
            yield from (item.path for item in plan.shard(other).inputs[:1])
