"""What people read on their terminal: the only place below the command line that prints."""

import sys


def say(text: str = "") -> None:
    """Print a line to standard output. Raises OSError where that is closed."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a line to standard error. Raises OSError where that is closed."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def plural(number: int, noun: str) -> str:
    """Write a count with its noun: ``1 shard``, ``1,200 shards``. Raises nothing."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
