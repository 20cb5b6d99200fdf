"""The options of a stage or pipeline as its file has them, with those of the files it builds on.

Read as text, for ``--help``; what a file really means is Hydra's to say.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hpcpipe.compose import conf_files
from hpcpipe.compose.conf_files import OptionText

MAX_LIST_CHARS = 60
"""Longer lists are shown by their first item."""


def of_choice(name: str, files: dict[str, Path]) -> list[OptionText]:
    """List the options of a file; those of a group with their dotted names.

    Options of the files that its ``defaults`` name come first, with the file's own values, and with
    its comments where it has any.

    Args:
        name: the choice.
        files: all choices of its group, by name.

    Returns:
        The options.

    Raises:
        OSError: a file cannot be read.
    """
    return _of_choice(name, files, ())


def _of_choice(name: str, files: dict[str, Path], within: tuple[str, ...]) -> list[OptionText]:
    text = conf_files.read_text(files[name])
    found: list[OptionText] = []
    for parent in conf_files.defaults(text):
        if parent in files and parent not in (name, *within):
            found = _laid_over(found, _of_choice(parent, files, (name, *within)))
    return _laid_over(found, [*_with_nested(text)])


def _laid_over(below: list[OptionText], above: list[OptionText]) -> list[OptionText]:
    """Give options other values; new ones come behind the last of their group."""
    found = list(below)
    known = {_group(one) for one in below}
    for option in above:
        same = next((at for at, one in enumerate(found) if one.name == option.name), None)
        if same is not None:
            comment = option.comment or found[same].comment
            found[same] = replace(found[same], value=option.value, comment=comment)
        elif _group(option) in known:
            last = max(at for at, one in enumerate(found) if _group(one) == _group(option))
            found.insert(last + 1, replace(option, heading=""))
        else:
            found.append(option)
    return found


def _group(option: OptionText) -> str:
    return option.name.partition(".")[0]


def _with_nested(text: str, *, has_opening: bool = True) -> Iterator[OptionText]:
    """The options of a file; those of a group with their dotted names, under what it is for."""
    for option in conf_files.options(text, has_opening=has_opening):
        below = conf_files.block(text, option.name) if not option.value else ""
        nested = [*_with_nested(below, has_opening=False)]
        if not nested:
            yield replace(option, value=option.value or _list_value(below))
        for number, inner in enumerate(nested):
            name, heading = f"{option.name}.{inner.name}", inner.heading
            if number == 0:
                heading = f"{option.name}: {option.comment}".rstrip(": ")
            yield replace(inner, name=name, heading=heading)


def _list_value(below: str) -> str:
    """A list that stands on lines of its own as one would type it; a long one is cut."""
    items = [line[2:].strip() for line in below.splitlines() if line.startswith("- ")]
    shown = items if len(", ".join(items)) <= MAX_LIST_CHARS else [items[0], "..."]
    return f"[{', '.join(shown)}]" if items else ""
