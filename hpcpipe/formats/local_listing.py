"""Finding local files by folder or glob with one directory read a folder and one stat a file.

Order, duplicates and what is said when nothing is found are for ``listing``.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator

from hpcpipe.errors import PlanError
from hpcpipe.formats.remote import display
from hpcpipe.stage import Input

_MAGIC = re.compile(r"[*?\[]")


def has_magic(text: str) -> bool:
    """Tell whether a path has glob characters.

    Args:
        text: path or one component of it.

    Returns:
        True where ``*``, ``?`` or ``[`` occurs.

    Raises:
        Nothing.
    """
    return _MAGIC.search(text) is not None


def braces(pattern: str) -> list[str]:
    """Expand ``{a,b}`` and ``{000..127}``.

    Args:
        pattern: path or URL.

    Returns:
        The patterns without braces, in order.

    Raises:
        PlanError: the braces do not match.
    """
    from braceexpand import braceexpand

    if "{" not in pattern:
        return [pattern]
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise PlanError(f"{display(pattern)}: unbalanced braces in the pattern") from error


def files_in(folder: str, suffixes: tuple[str, ...] = ()) -> list[Input]:
    """List a folder's own files.

    Args:
        folder: absolute path.
        suffixes: accepted endings; none means all. Names that begin with a dot are passed over.

    Returns:
        The files, in the order of the directory.

    Raises:
        OSError: the folder, or a file in it, cannot be read.
    """
    return list(_matching(folder, None, suffixes))


def glob_files(pattern: str, suffixes: tuple[str, ...] = ()) -> list[Input]:
    """List the files that match a glob.

    Args:
        pattern: absolute path with ``*``, ``?``, ``[]`` or ``**`` (any number of folders; links
            to folders are not followed by it). A leading dot is matched only by a dot.
        suffixes: accepted endings; none means all.

    Returns:
        The files, in the order of the directories.

    Raises:
        OSError: a folder, or a file in it, cannot be read.
    """
    folders = ["/"]
    *steps, last = pattern.strip("/").split("/")
    for step in steps:
        if step == "**":
            folders = list(dict.fromkeys(deep for folder in folders for deep in _below(folder)))
        elif has_magic(step):
            matches = _matcher(step)
            folders = [
                entry.path
                for folder in folders
                for entry in _scan(folder)
                if matches(entry.name) and entry.is_dir()
            ]
        else:
            folders = [
                path for folder in folders if os.path.isdir(path := os.path.join(folder, step))
            ]
    if last == "**":
        folders = list(dict.fromkeys(deep for folder in folders for deep in _below(folder)))
        last = "*"
    return [item for folder in folders for item in _matching(folder, last, suffixes)]


def _scan(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _below(folder: str) -> Iterator[str]:
    """The folder itself and all folders below it."""
    pending = [folder]
    while pending:
        folder = pending.pop()
        yield folder
        pending += [
            entry.path
            for entry in _scan(folder)
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        ]


def _matcher(step: str) -> Callable[[str], object]:
    hidden = "" if step.startswith(".") else r"(?!\.)"
    return re.compile(hidden + fnmatch.translate(step)).match


def _matching(folder: str, step: str | None, suffixes: tuple[str, ...]) -> Iterator[Input]:
    matches = _matcher(step or "*")
    for entry in _scan(folder):
        name = entry.name
        if not name.endswith(suffixes or "") or not matches(name) or entry.is_dir():
            continue
        stat = entry.stat()
        yield Input(entry.path, stat.st_size, str(stat.st_mtime_ns))
