"""What people read on their terminal: the only place below the command line that prints."""

import sys

_HIDDEN = (
    *range(9),
    *range(11, 32),
    *range(127, 160),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in _HIDDEN}


def visible(text: str) -> str:
    """Write what would steer a terminal as escapes; lines and tabs stay.

    Names and messages may come from files of others.

    Args:
        text: any text.

    Returns:
        The same to look at, and nothing else.

    Raises:
        Nothing.
    """
    return text.translate(_VISIBLE)


def say(text: str = "") -> None:
    """Print a line to standard output. Raises OSError where that is closed."""
    sys.stdout.write(f"{visible(text)}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a line to standard error. Raises OSError where that is closed."""
    sys.stderr.write(f"{visible(text)}\n")
    sys.stderr.flush()


def plural(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 shard``, ``1,200 shards``. Raises nothing."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(num_bytes: float) -> str:
    """Write a number of bytes: ``512 B``, ``1.5 GiB``. Raises nothing."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} PiB"


def percent(share: float) -> str:
    """Write a share: ``12.3%``; never 0 where there is something, nor 100 where some lacks.

    Args:
        share: 0 to 1.

    Returns:
        The text.

    Raises:
        Nothing.
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{min(share, 0.999):.1%}" if share < 1 else "100%"
