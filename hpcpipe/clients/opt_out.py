"""What the headers of an answer say about its use: X-Robots-Tag and tdm-reservation.

What a host says for all its files at once, in robots.txt and tdmrep.json, is in `host_rules`.
"""

import re
from collections.abc import Iterable

_AGENT = re.compile(r"[^\s=]+")
_WITH_VALUE = frozenset(
    {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
)
_MEANS = {"none": ("noindex", "nofollow")}


def forbidding_directive(
    values: Iterable[str], agent: str, directives: frozenset[str]
) -> str | None:
    """Find what in ``X-Robots-Tag`` headers forbids the use of a file.

    Args:
        values: one string for each such header. ``agent: a, b`` speaks to that agent only, up to
            the header's end or another agent; ``*`` to all.
        agent: our own name.
        directives: those that forbid, in lower case, such as ``noai``.

    Returns:
        The first that does; None where nothing does.

    Raises:
        Nothing.
    """
    for value in values:
        is_for_us = True
        for part in value.lower().split(","):
            word = part.strip()
            name, colon, rest = (piece.strip() for piece in word.partition(":"))
            # the rest of a date, which may have commas, is no agent
            if colon and name not in _WITH_VALUE and _AGENT.fullmatch(name):
                is_for_us = name in ("*", agent.lower())
                word = rest
            if is_for_us and not directives.isdisjoint(_MEANS.get(word, (word,))):
                return word
    return None


def is_reserved(values: Iterable[str]) -> bool:
    """Tell whether ``tdm-reservation`` headers reserve the rights of text and data mining.

    Args:
        values: one string for each such header.

    Returns:
        True where one is ``1``.

    Raises:
        Nothing.
    """
    return any(value.strip() == "1" for value in values)
