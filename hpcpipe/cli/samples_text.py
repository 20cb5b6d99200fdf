"""What `status` shows of a run's samples: how fast, how many were made, and why others were not."""

import textwrap
from itertools import groupby

from hpcpipe.cli import text
from hpcpipe.console import plural, size
from hpcpipe.runtime.accounting import samples
from hpcpipe.runtime.live import Live, with_at_hand
from hpcpipe.runtime.summary import Summary
from hpcpipe.runtime.unmade import Unmade, is_unmade

MAX_CLASSES = 12
_MAX_WIDTH = 100
_INDENT = 11


def sample_lines(summary: Summary, width: int) -> list[str]:
    """Show what became of samples, those of the shards at hand included.

    Args:
        summary: the run.
        width: characters a line.

    Returns:
        The lines; none where there is nothing to say.

    Raises:
        Nothing.
    """
    return [*_now(summary), *_made(summary, width), *_counted(summary, width)]


def live_words(live: Live) -> list[str]:
    """Say how a worker goes of late: its rate, and what part of its samples is made.

    Args:
        live: what it says.

    Returns:
        Two cells, empty where nothing was said.

    Raises:
        Nothing.
    """
    rate = f"{samples(live.samples_per_s)}/s" if live.samples_per_s else ""
    is_told = live.made_share is not None and (live.made_share < 1 or not rate)
    return [rate, f"{text.percent(live.made_share or 0.0)} made" if is_told else ""]


def _now(summary: Summary) -> list[str]:
    live, now = summary.live, summary.at_hand
    rate, made = live_words(live)
    read = f"{size(live.bytes_in_per_s)}/s read" if live.bytes_in_per_s else ""
    words = ", ".join(filter(None, (rate, read, made)))
    rows = [f"now        {words}"] if words else []
    if now.num_samples or now.bytes_in:
        all_samples = now.num_samples + summary.num_samples
        parts = [f"{now.num_samples:,} of {plural(all_samples, 'sample')}"]
        if now.bytes_in:
            parts.append(f"{size(now.bytes_in)} of {size(now.bytes_in + summary.bytes_in)} read")
        rows.append(f"at hand    {', '.join(parts)}, in {plural(now.num_shards, 'shard')}")
    return rows


def _made(summary: Summary, width: int) -> list[str]:
    """The share of samples that were made, and the classes of the others, most first."""
    if not summary.unmade or summary.made_share is None:
        return []
    num_made = summary.num_samples + summary.at_hand.num_samples
    num_tried = num_made + sum(one.number for one in summary.unmade)
    share = text.percent(summary.made_share)
    rows = [f"made       {share}: {num_made:,} of {num_tried:,} samples"]
    for why, items in groupby(summary.unmade, key=lambda one: one.why):
        rows += _wrapped(_classes(why, list(items), num_tried), width)
    return rows


def _classes(why: str, items: list[Unmade], num_tried: int) -> str:
    """The classes of one why; of many the most frequent ones, and the sum of the others."""
    sums = [(one.name, one.number) for one in items[:MAX_CLASSES]]
    if len(items) > MAX_CLASSES:
        rest = sum([one.number for one in items[MAX_CLASSES:]])
        sums.append((f"and {len(items) - MAX_CLASSES} more", rest))
    words = [f"{name} {number:,} ({text.percent(number / num_tried)})" for name, number in sums]
    share = text.percent(sum([number for _, number in sums]) / num_tried)
    return f"{why.replace('_', ' ')} {share}: {', '.join(words)}"


def _wrapped(line: str, width: int) -> list[str]:
    """Break a line between items only."""
    fixed = line.replace(", ", ",\0").replace(" ", "\N{NO-BREAK SPACE}").replace("\0", " ")
    indent = " " * _INDENT
    wrapped = textwrap.wrap(
        fixed,
        max(min(width, _MAX_WIDTH), 2 * _INDENT),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [row.replace("\N{NO-BREAK SPACE}", " ") for row in wrapped]


def _counted(summary: Summary, width: int) -> list[str]:
    """Other counters that count something, as many on a line as fit."""
    rows: list[str] = []
    for name, value in with_at_hand(summary.stats, summary.at_hand.stats).items():
        if not value or is_unmade(name):
            continue
        item = f"{name} {text.number(value)}"
        if rows and len(rows[-1]) + 2 + len(item) <= min(width, _MAX_WIDTH):
            rows[-1] += f", {item}"
        else:
            rows.append(f"{'' if rows else 'counted':10} {item}")
    return rows
