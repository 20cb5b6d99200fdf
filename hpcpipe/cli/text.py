"""Numbers, times and tables as people read them on a terminal."""

import math
import os
import shutil
import sys
import time
from collections.abc import Sequence

from hpcpipe.console import size as size

WIDE = 10_000


def terminal_width() -> int:
    """Tell how wide lines may be: the terminal's width, or no limit where there is none.

    Returns:
        Characters.

    Raises:
        Nothing.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return WIDE


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units: ``12 s``, ``1 h 05 min``. Raises nothing."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def moment(at: float) -> str:
    """Write a Unix time as local date and time. Raises nothing."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def number(value: float) -> str:
    """Write a count, or a sum of fractions, with thousands apart. Raises nothing."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def rate(per_s: float) -> str:
    """Write a rate in the unit that suits it: per second, minute or hour. Raises nothing."""
    for factor, unit in ((1, "s"), (60, "min")):
        if per_s * factor >= 1:
            return f"{per_s * factor:,.1f} shards/{unit}"
    return f"{per_s * 3600:,.1f} shards/h"


def bar(part: int, whole: int, width: int) -> str:
    """Draw how much of a whole is there: ``[####......]  40.0%``.

    Args:
        part: what is there.
        whole: all of it.
        width: characters between the brackets.

    Returns:
        The bar; full only when nothing is missing.

    Raises:
        Nothing.
    """
    filled = part * width // whole if whole else width
    percent = math.floor(1000 * part / whole) / 10 if whole else 100.0
    return f"[{'#' * filled}{'.' * (width - filled)}] {percent:5.1f}%"


def cut(text: str, width: int) -> str:
    """Shorten a line to a width, showing that something is missing. Raises nothing."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def cut_front(text: str, width: int) -> str:
    """Shorten a path or id to a width, keeping its end. Raises nothing."""
    return text if len(text) <= width else "..." + text[len(text) - max(width - 3, 0) :]


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Align rows of cells.

    Args:
        rows: cells; all rows have the same number of them.
        right: columns that are aligned to the right.

    Returns:
        One line a row; columns without any text are left out.

    Raises:
        Nothing.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]
