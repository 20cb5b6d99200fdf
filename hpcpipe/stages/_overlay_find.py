"""Finding the edits of an overlay's shards: a tar or a folder each, and what belongs to none."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hpcpipe.errors import PlanError
from hpcpipe.formats.remote import display, filesystem, is_remote, version_of
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.stage import Input, PlanContext

_NUM_SHOWN = 5


class FoundEdits(NamedTuple):
    """What there is in a folder of edits.

    Attributes:
        by_shard: tar or folder of each shard that has one.
        strays: paths below the folder of tars and folders that belong to no shard.
    """

    by_shard: dict[str, Input]
    strays: list[str]


class _Entry(NamedTuple):
    is_dir: bool
    item: Input


def find_edits(location: str, ids: list[str], ctx: PlanContext) -> FoundEdits:
    """Find the tar or folder of edits of each shard that has one.

    Args:
        location: folder of edits, path or URL.
        ids: the shards.
        ctx: tells what a run of ours made there.

    Returns:
        What there is.

    Raises:
        PlanError: there are no edits for any shard, or two for one, or the folder cannot be read.
        UpstreamIncompleteError: the run that makes them is not complete.
    """
    root = location.rstrip("/")
    recorded = ctx.recorded(location)
    by_shard: dict[str, Input] = {}
    strays: list[str] = []
    levels = _levels(ids)
    for level, names in levels.items():
        entries = _entries(f"{root}/{level}".rstrip("/"), may_be_missing=bool(level))
        if recorded is not None:
            entries = _only_made(entries, level, recorded, root)
        for name in names:
            item = _of_shard(entries.pop(f"{name}.tar", None), entries.pop(name, None))
            if item is not None:
                by_shard[_below(level, name)] = item
        inner = {path.rpartition("/")[2] for path in levels if path and _parent(path) == level}
        strays += [_below(level, name) for name in entries if name not in inner]
    if not by_shard:
        shown = ", ".join(sorted(strays)[:_NUM_SHOWN]) or "nothing of the kind"
        raise PlanError(
            f"stage.edits={display(location)} has no edits for any of the {len(ids)} shards: "
            f"expected {ids[0]}.tar or a folder {ids[0]}/ and so on, found {shown}"
        )
    return FoundEdits(by_shard, sorted(strays))


def _levels(ids: Iterable[str]) -> dict[str, list[str]]:
    """Names of shards by the folder they are in; folders above these are there, too."""
    levels: dict[str, list[str]] = {"": []}
    for shard_id in ids:
        level, _, name = shard_id.rpartition("/")
        levels.setdefault(level, []).append(name)
    for level in list(levels):
        while level := _parent(level):
            levels.setdefault(level, [])
    return levels


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _below(level: str, name: str) -> str:
    return f"{level}/{name}" if level else name


def _of_shard(tar: _Entry | None, folder: _Entry | None) -> Input | None:
    if tar is not None and tar.is_dir:
        tar = None
    if folder is not None and not folder.is_dir:
        folder = None
    if tar is not None and folder is not None:
        raise PlanError(
            f"stage.edits has both {display(tar.item.path)} and a folder of the same name; "
            "take one of them away"
        )
    found = tar or folder
    return found.item if found is not None else None


def _only_made(
    entries: dict[str, _Entry], level: str, recorded: frozenset[str], root: str
) -> dict[str, _Entry]:
    """Leave out what the run that made the folder did not make, such as its failed shards'."""
    made = {path[len(level) :].lstrip("/") for path in recorded if _is_in(path, level)}
    tars = {name for name in made if "/" not in name and name.endswith(".tar")}
    folders = {name.partition("/")[0] for name in made if "/" in name}
    missing = sorted(tars - entries.keys())
    if missing:
        raise PlanError(
            f"{display(root)}/{_below(level, missing[0])} is recorded by the run that made the "
            f"edits but is not there: python -m hpcpipe verify {display(root)} --requeue"
        )
    return {
        name: entry
        for name, entry in entries.items()
        if name in (folders if entry.is_dir else tars)
    }


def _is_in(path: str, level: str) -> bool:
    return not level or path.startswith(f"{level}/")


def _entries(folder: str, *, may_be_missing: bool) -> dict[str, _Entry]:
    """List tars and folders of edits; a folder that is missing below the root has none."""
    listed = _remote_entries(folder) if is_remote(folder) else _local_entries(folder)
    try:
        return {
            name: entry
            for name, entry in listed
            if name[:1] != "." and (entry.is_dir or name.endswith(".tar"))
        }
    except FileNotFoundError as error:
        if may_be_missing:
            return {}
        raise PlanError(f"stage.edits: {error.filename} does not exist") from error
    except OSError as error:
        reason = f"stage.edits: {error.filename} cannot be read: {error.strerror}"
        raise PlanError(reason) from error


def _local_entries(folder: str) -> Iterator[tuple[str, _Entry]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            is_dir = entry.is_dir()
            if is_dir or entry.name.endswith(".tar"):
                info = entry.stat()
                item = Input(f"{folder}/{entry.name}", info.st_size, str(info.st_mtime_ns))
                yield entry.name, _Entry(is_dir, item)


def _remote_entries(folder: str) -> Iterator[tuple[str, _Entry]]:
    fs, name = filesystem(folder)
    with remote_errors(folder):
        fs.invalidate_cache()
        for info in fs.ls(name, detail=True) if fs.exists(name) else ():
            base = info["name"].rstrip("/").rpartition("/")[2]
            item = Input(f"{folder}/{base}", int(info.get("size") or 0), version_of(info))
            yield base, _Entry(info.get("type") == "directory", item)
