"""Which step of a pipeline reads what another one makes, by what its options name."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from hpcpipe.formats.local_listing import braces, has_magic

_RANGE = re.compile(r"\{[^{},]*\.\.[^{},]*\}")
"""``{000..127}``: taken for ``*``, since there may be a million of them."""


def locations_in(value: Any) -> Iterable[str]:
    """Find all text in plain values, which is where an option may name a folder.

    Args:
        value: lists, mappings and scalars.

    Yields:
        Every string that is no key.

    Raises:
        Nothing.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from locations_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from locations_in(item)


def reads(options: dict[str, Any], folder: str) -> bool:
    """Tell whether a stage's options name an output folder, or something in it.

    Args:
        options: plain values with absolute paths; where they write to does not count.
        folder: absolute path or URL.

    Returns:
        Whether one of them does.

    Raises:
        Nothing.
    """
    inside = f"{folder.rstrip('/')}/"
    return any(f"{text}/".startswith(inside) for text in _inputs_in(options))


def may_read(options: dict[str, Any], folder: str) -> bool:
    """Tell whether a stage's options name an output folder, or have a pattern that reaches into it.

    Args:
        options: plain values with absolute paths; where they write to does not count.
        folder: absolute path or URL.

    Returns:
        Whether one of them does.

    Raises:
        PlanError: the braces of a pattern do not match.
    """
    parts = folder.rstrip("/").split("/")
    patterns = (
        pattern
        for text in _inputs_in(options)
        if text.startswith("/") or "://" in text
        for pattern in braces(_RANGE.sub("*", text))
        if has_magic(pattern)
    )
    return reads(options, folder) or any(_reaches(x.split("/"), parts) for x in patterns)


def _inputs_in(options: dict[str, Any]) -> Iterable[str]:
    return locations_in({name: value for name, value in options.items() if name != "output"})


def _reaches(pattern: list[str], folder: list[str]) -> bool:
    """Whether a pattern, part by part, may match something in a folder."""
    if not folder or not pattern:
        return bool(pattern)
    if pattern[0] == "**":
        return True
    return fnmatchcase(folder[0], pattern[0]) and _reaches(pattern[1:], folder[1:])
