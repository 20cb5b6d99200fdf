"""Finding the edits of an overlay's shards, a tar, a folder or captions each, and of no shard."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hpcpipe.errors import PlanError
from hpcpipe.formats.captions import CAPTIONS_SUFFIX, NOTES_SUFFIX
from hpcpipe.formats.edits_write import shard_above
from hpcpipe.formats.remote import display, filesystem, is_remote, version_of
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.stage import Input, PlanContext

_TAR_SUFFIX = ".tar"
_EDITS_SUFFIXES = (_TAR_SUFFIX, CAPTIONS_SUFFIX)
_SUFFIXES = (*_EDITS_SUFFIXES, NOTES_SUFFIX)
_NUM_SHOWN = 5


class FoundEdits(NamedTuple):
    """What there is in a folder of edits.

    Attributes:
        by_shard: tar, folder or captions of each shard that has one; notes of the captions behind.
        strays: paths below the folder of what belongs to no shard: tars, folders, captions.
    """

    by_shard: dict[str, tuple[Input, ...]]
    strays: list[str]


class _Entry(NamedTuple):
    is_dir: bool
    path: str
    known: Input | None
    """Where listing says it all; else only what is used is looked at."""

    def input(self) -> Input:
        return self.known or _look_at(self.path)


def find_edits(location: str, ids: list[str], ctx: PlanContext) -> FoundEdits:
    """Find the tar, the folder or the captions that are the edits of each shard that has some.

    Args:
        location: folder of edits, path or URL.
        ids: the shards.
        ctx: tells what a run of ours made there.

    Returns:
        What there is.

    Raises:
        PlanError: there are no edits for any shard, or two for one, or it cannot be told whose
            they are, or the folder cannot be read.
        UpstreamIncompleteError: the run that makes them is not complete.
    """
    root = location.rstrip("/")
    recorded = ctx.recorded(location)
    by_shard: dict[str, tuple[Input, ...]] = {}
    strays: list[str] = []
    levels = _levels(ids)
    known = set(ids)
    for level, names in levels.items():
        entries = _entries(f"{root}/{level}".rstrip("/"), may_be_missing=bool(level))
        if recorded is not None:
            entries = _only_made(entries, level, recorded, root)
        inner = {path.rpartition("/")[2] for path in levels if path and _parent(path) == level}
        loose = {name for name in names if name not in inner}
        if (upper := shard_above(_below(level, "any"), known)) is not None:
            _refuse_loose(f"{root}/{level}", entries, loose, upper)
        for name in names:
            if items := _of_shard(name, entries, name in loose):
                by_shard[_below(level, name)] = items
        left = [one for one in entries if entries[one].is_dir or one.endswith(_EDITS_SUFFIXES)]
        strays += [_below(level, name) for name in left if name not in inner]
    if not by_shard:
        shown = ", ".join(sorted(strays)[:_NUM_SHOWN]) or "nothing of the kind"
        raise PlanError(
            f"stage.edits={display(location)} has no edits for any of the {len(ids)} shards: "
            f"expected {ids[0]}.tar, a folder {ids[0]}/ or captions {ids[0]}.json and so on, "
            f"found {shown}"
        )
    if not any(items[0].path.endswith(CAPTIONS_SUFFIX) for items in by_shard.values()):
        strays = [one for one in strays if not one.endswith(CAPTIONS_SUFFIX)]  # of something else
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


def _refuse_loose(folder: str, entries: dict[str, _Entry], names: set[str], upper: str) -> None:
    """Refuse loose edits below a folder whose name a shard has, too: they may be of that one."""
    for name, entry in entries.items():
        if name in names if entry.is_dir else not name.endswith(_SUFFIXES):
            raise PlanError(
                f"stage.edits: {display(folder)}/{name} may be an edit of the shard {upper!r}, or "
                f"of one in the folder {upper}/: give the edits of these shards as tars, or the "
                f"shard {upper!r} another name"
            )


def _of_shard(name: str, entries: dict[str, _Entry], may_be_loose: bool) -> tuple[Input, ...]:
    """Take what a shard has out of the entries."""
    found = []
    files = (f"{name}{_TAR_SUFFIX}", f"{name}{CAPTIONS_SUFFIX}")
    for one in (*files, name) if may_be_loose else files:
        entry = entries.get(one)
        if entry is not None and entry.is_dir == (one == name):
            found.append(entries.pop(one))
    if len(found) > 1:
        shown = [display(entry.path) + "/" * entry.is_dir for entry in found]
        raise PlanError(
            f"stage.edits has both {shown[0]} and {shown[1]}, and a shard has one kind of edits: "
            "take one of them away"
        )
    if found and found[0].path.endswith(CAPTIONS_SUFFIX):
        notes = entries.get(f"{name}{NOTES_SUFFIX}")
        found += [notes] if notes and not notes.is_dir else []
    return tuple([entry.input() for entry in found])


def _only_made(
    entries: dict[str, _Entry], level: str, recorded: frozenset[str], root: str
) -> dict[str, _Entry]:
    """Leave out what the run that made the folder did not make, such as its failed shards'."""
    made = {path[len(level) :].lstrip("/") for path in recorded if _is_in(path, level)}
    files = {name for name in made if "/" not in name}
    folders = {name.partition("/")[0] for name in made if "/" in name}
    missing = sorted(name for name in files - entries.keys() if name.endswith(_EDITS_SUFFIXES))
    if missing:
        raise PlanError(
            f"{display(root)}/{_below(level, missing[0])} is recorded by the run that made the "
            f"edits but is not there: python -m hpcpipe verify {display(root)} --requeue"
        )
    return {
        name: entry
        for name, entry in entries.items()
        if name in (folders if entry.is_dir else files)
    }


def _is_in(path: str, level: str) -> bool:
    return not level or path.startswith(f"{level}/")


def _entries(folder: str, *, may_be_missing: bool) -> dict[str, _Entry]:
    """List what is not hidden; in a folder that is missing below the root there is nothing."""
    listed = _remote_entries(folder) if is_remote(folder) else _local_entries(folder)
    try:
        return {name: entry for name, entry in listed if name[:1] != "."}
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
            yield entry.name, _Entry(entry.is_dir(), entry.path, None)


def _look_at(path: str) -> Input:
    try:
        info = os.stat(path)
    except OSError as error:
        raise PlanError(f"stage.edits: {path} cannot be read: {error.strerror}") from error
    return Input(path, info.st_size, str(info.st_mtime_ns))


def _remote_entries(folder: str) -> Iterator[tuple[str, _Entry]]:
    fs, name = filesystem(folder)
    with remote_errors(folder):
        fs.invalidate_cache()
        for info in fs.ls(name, detail=True) if fs.exists(name) else ():
            base = info["name"].rstrip("/").rpartition("/")[2]
            item = Input(f"{folder}/{base}", int(info.get("size") or 0), version_of(info))
            yield base, _Entry(info.get("type") == "directory", item.path, item)
