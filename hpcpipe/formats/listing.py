"""Which files a location names: paths, folders, globs, braces and URLs, in one fixed order.

Reads no file's content.
"""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from hpcpipe.errors import BadInputError, PlanError
from hpcpipe.formats.local_listing import braces, files_in, glob_files, has_magic
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.formats.remote_listing import list_remote, remote_input
from hpcpipe.stage import Input

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_DIGITS = re.compile(r"\d+")
_ANY_DIGIT = bytes.maketrans(b"123456789", b"0" * 9)
_NUM_SHOWN = 3


def list_location(location: str | Sequence[str], suffixes: tuple[str, ...] = ()) -> list[Input]:
    """List the files that locations name.

    Args:
        location: one or more paths, folders (their own files, not recursive), globs (``*``,
            ``?``, ``[]``, ``**``), brace patterns (``{a,b}``, ``{000..127}``) or fsspec URLs.
        suffixes: endings that files found by a folder or a glob must have; a file named in full
            is taken whatever its ending.

    Returns:
        The files in natural order of their paths (``x9`` before ``x10``), each once, with size
        and modification time or ETag.

    Raises:
        PlanError: a location matches nothing, cannot be read, or names a file whose name cannot
            be used.
        SetupError: the package for a URL is not installed.
        ConfigError: a URL's scheme is unknown.
    """
    found: dict[str, Input] = {}
    for pattern in [location] if isinstance(location, str) else location:
        listed = list_remote if is_remote(pattern) else _list_local
        for item in listed(pattern, suffixes):
            found[item.path] = item
    unsafe = next((path for path in found if not path.isprintable() and _UNSAFE.search(path)), None)
    if unsafe is not None:
        raise PlanError(
            f"{unsafe!r}: control characters or bytes that are no UTF-8 in a file's name; "
            "rename the file"
        )
    shapes = "\n".join(found).encode().translate(_ANY_DIGIT).split(b"\n")
    if len(set(shapes)) == 1:  # numbers of equal width: plain order is natural order
        return [found[path] for path in sorted(found)]
    return sorted(found.values(), key=_natural_order())


def stat_input(path: str) -> Input:
    """Look one file up as it is now, to compare with the plan.

    Args:
        path: absolute path or URL.

    Returns:
        Its size and version, as `list_location` gives them.

    Raises:
        BadInputError: it does not exist or may not be read.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: the local filesystem failed.
    """
    if is_remote(path):
        fs, name = filesystem(path)
        with remote_errors(path):
            fs.invalidate_cache()
            return remote_input(path, fs.info(name))
    try:
        stat = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from error
    return Input(path, stat.st_size, str(stat.st_mtime_ns))


def ids_from_paths(
    inputs: Sequence[Input], location: str | Sequence[str], suffixes: tuple[str, ...] = ()
) -> list[str]:
    """Name shards after their files.

    Args:
        inputs: the files.
        location: what they were listed by; it decides the names, so that files that are added
            later do not change the names of those that were there.
        suffixes: endings to cut off, the longest that fits.

    Returns:
        For each its path below the folder common to all that `location` can name, without suffix.

    Raises:
        PlanError: two files get the same id, or a name has an empty, ``.`` or ``..`` component.
    """
    names = [_below_root(item.path) for item in inputs]
    start = _root_length(names, [location] if isinstance(location, str) else location)
    endings = sorted(suffixes, key=len, reverse=True)
    owner: dict[str, str] = {}
    for item, name in zip(inputs, names, strict=True):
        shard_id = name[start:]
        if shard_id.endswith(suffixes):
            cut = next(end for end in endings if shard_id.endswith(end))
            shard_id = shard_id[: len(shard_id) - len(cut)]
        if f"/{shard_id}/".find("//") >= 0 or (
            "." in shard_id and not {".", ".."}.isdisjoint(shard_id.split("/"))
        ):
            raise PlanError(f"{display(item.path)}: no shard can be named {shard_id!r}")
        if shard_id in owner:
            raise PlanError(
                f"{display(owner[shard_id])} and {display(item.path)} would both be shard "
                f"{shard_id!r}; name one of them only, or rename one"
            )
        owner[shard_id] = item.path
    return list(owner)


def _root_length(names: list[str], patterns: Sequence[str]) -> int:
    """Characters before the part of a path that differs between what patterns can name."""
    known = set(names)
    folders = []
    for pattern in patterns:
        fixed = _below_root(_fixed_folder(pattern))
        folders.append(fixed.rpartition("/")[0] if fixed in known else fixed)
    ends = sorted(f"{folder}/" for folder in folders)
    root = os.path.commonprefix([ends[0], ends[-1]]).rpartition("/")[0]  # noqa: RUF071
    return len(root) + 1 if root else 0


def _fixed_folder(pattern: str) -> str:
    """The components of a location before the first that is a pattern."""
    if not is_remote(pattern):
        pattern = os.path.abspath(os.path.expanduser(pattern.removeprefix("file://")))
        if os.path.lexists(pattern):
            return pattern
    return re.split(r"/[^/]*[*?\[{]", pattern, maxsplit=1)[0].rstrip("/")


def _below_root(path: str) -> str:
    return (display(path).split("://", 1)[1] if is_remote(path) else path).lstrip("/")


def _natural_order() -> Any:
    folders: dict[str, str] = {}

    def natural(text: str) -> str:
        return _DIGITS.sub(lambda m: f"{len(d := m[0].lstrip('0')):04d}{d}", text)

    def order(item: Input) -> tuple[str, str, str]:
        folder, _, name = item.path.rpartition("/")
        if folder not in folders:
            folders[folder] = natural(folder)
        return folders[folder], natural(name), item.path

    return order


def _list_local(pattern: str, suffixes: tuple[str, ...]) -> list[Input]:
    path = os.path.abspath(os.path.expanduser(pattern.removeprefix("file://")))
    exact = os.path.lexists(path)
    found: list[Input] = []
    missing: list[str] = []
    try:
        for one in [path] if exact else braces(path):
            if not exact and has_magic(one):
                found += glob_files(one, suffixes)
            elif os.path.isdir(one):
                found += files_in(one, suffixes)
            else:
                try:
                    stat = os.stat(one)
                    found.append(Input(one, stat.st_size, str(stat.st_mtime_ns)))
                except (FileNotFoundError, NotADirectoryError):
                    missing.append(one)
        if not found:
            raise PlanError(f"{pattern} {_why_nothing(missing[0] if missing else path, suffixes)}")
    except OSError as error:
        raise PlanError(f"{error.filename} cannot be read: {error.strerror}") from error
    if missing:
        raise PlanError(
            f"{pattern}: {len(missing)} of its files do not exist, {missing[0]} for one"
        )
    return found


def _why_nothing(path: str, suffixes: tuple[str, ...]) -> str:
    """Complete the sentence "PATTERN ..." with what is there instead."""
    folder = PurePosixPath(path)
    while has_magic(str(folder)) or not os.path.isdir(folder):
        folder = folder.parent
    entries = sorted(os.listdir(folder))
    names = [name for name in entries if not name.startswith(".")]
    files = [name for name in names if not os.path.isdir(folder / name)]
    step = PurePosixPath(path).parts[len(folder.parts) :][:1]
    if step and not has_magic(step[0]):
        near = difflib.get_close_matches(step[0], names, 1) or names[:_NUM_SHOWN]
        hint = f" it has {_some(near, len(names))}" if near else " it is empty"
        return f"does not exist: there is no {step[0]!r} in {folder};{hint}"
    if not names:
        return f"matches nothing: {folder} is empty"
    if suffixes and files and not any(name.endswith(suffixes) for name in files):
        return (
            f"matches nothing: {folder} has {len(files)} files, "
            f"none ends in {' or '.join(suffixes)} ({_some(files[:_NUM_SHOWN], len(files))})"
        )
    below = (
        "" if files or has_magic(path) else f"; {folder}/** takes in the files of all folders in it"
    )
    return (
        f"matches no file: {folder} has {len(files)} files and {len(names) - len(files)} folders "
        f"({_some(names[:_NUM_SHOWN], len(names))}){below}"
    )


def _some(names: Iterable[str], total: int) -> str:
    shown = list(names)
    return ", ".join(shown) + (f" and {total - len(shown)} more" if total > len(shown) else "")
