"""What a run's counters count, listed in files beside the outputs.

A stage that counts what people may want to look at one by one, such as edits that match nothing,
writes an output ``COUNTER/SHARD.txt`` with a line each.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.files import printable


class Listed(msgspec.Struct, frozen=True):
    """A counter whose subjects are listed.

    Attributes:
        name: the counter.
        number: what it stands at.
        folder: where the lists are.
        example: the first line of one of them.
    """

    name: str
    number: int | float
    folder: str
    example: str


def find_listed(output: str, stats: Mapping[str, int | float]) -> list[Listed]:
    """Find the counters that have lists.

    Args:
        output: output folder of a run; in a store nothing is looked for.
        stats: its counters.

    Returns:
        Those that count something and have lists in a folder of their name.

    Raises:
        Nothing.
    """
    if is_remote(output):
        return []
    names = [name for name, number in stats.items() if number and _is_plain(name)]
    folders = {name: os.path.join(output, name) for name in names}
    examples = {name: _first_line(folder) for name, folder in folders.items()}
    return [
        Listed(name, stats[name], folders[name], example)
        for name, example in examples.items()
        if example is not None
    ]


def _is_plain(name: str) -> bool:
    return name[:1] not in ("", ".") and "/" not in name


def _first_line(folder: str) -> str | None:
    """That of any list in a folder; None where what lies there are no lists."""
    path = _any_file(folder)
    if path is None or not path.endswith(".txt"):
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(200).strip()
    except OSError:
        return None


def _any_file(folder: str) -> str | None:
    """The first that is found: counters may be called as folders of a file for each shard."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = None
                if entry.is_dir(follow_symlinks=False):
                    path = _any_file(entry.path)
                elif entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    path = entry.path
                if path is not None:
                    return path
    except OSError:
        return None
    return None


def listed_lines(listed: Sequence[Listed]) -> list[str]:
    """Say where what was counted is listed, a line each. Raises nothing."""
    return [
        f"listed     {one.name} {one.number:,}: {one.folder}"
        + (f", {printable(one.example)} for one" if one.example else "")
        for one in listed
    ]
