"""Which part of a run's samples was made, and why the others were not, in lines for people."""

import textwrap
from collections.abc import Sequence
from itertools import groupby

from hpcpipe.console import percent
from hpcpipe.runtime.unmade import Unmade

MAX_CLASSES = 12
MAX_WIDTH = 100
_INDENT = " " * 11


def made_lines(num_made: int, unmade: Sequence[Unmade], width: int) -> list[str]:
    """Show the share of samples that were made, and the classes of the others, most first.

    Args:
        num_made: samples that were made.
        unmade: the others, by reason.
        width: characters a line.

    Returns:
        The lines; none where all samples were made.

    Raises:
        Nothing.
    """
    if not unmade:
        return []
    num_tried = num_made + sum([one.number for one in unmade])
    rows = [f"made       {percent(num_made / num_tried)}: {num_made:,} of {num_tried:,} samples"]
    for why, items in groupby(unmade, key=lambda one: one.why):
        rows += _wrapped(_classes(why, list(items), num_tried), width)
    return rows


def _classes(why: str, items: list[Unmade], num_tried: int) -> str:
    """The classes of one why; of many the most frequent ones, and the sum of the others."""
    sums = [(one.name, one.number) for one in items[:MAX_CLASSES]]
    if len(items) > MAX_CLASSES:
        rest = sum([one.number for one in items[MAX_CLASSES:]])
        sums.append((f"and {len(items) - MAX_CLASSES} more", rest))
    words = [f"{name} {number:,} ({percent(number / num_tried)})" for name, number in sums]
    share = percent(sum([number for _, number in sums]) / num_tried)
    return f"{why.replace('_', ' ')} {share}: {', '.join(words)}"


def _wrapped(line: str, width: int) -> list[str]:
    """Break a line between items only."""
    space = "\N{NO-BREAK SPACE}"
    items = [item.replace(" ", space) for item in line.split(", ")]
    rows = textwrap.wrap(
        ", ".join(items),
        max(width, 2 * len(_INDENT)),
        initial_indent=_INDENT,
        subsequent_indent=f"{_INDENT}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [row.replace(space, " ") for row in rows]
