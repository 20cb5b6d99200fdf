"""What `status` shows of a run's samples: how fast, how many were made, and why others were not."""

from hpcpipe.cli import text
from hpcpipe.console import percent, plural, size
from hpcpipe.runtime.accounting import samples
from hpcpipe.runtime.listed import listed_lines
from hpcpipe.runtime.live import Live, with_at_hand
from hpcpipe.runtime.summary import Summary
from hpcpipe.runtime.unmade import is_unmade
from hpcpipe.runtime.unmade_text import MAX_WIDTH, made_lines


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
    num_made = summary.num_samples + summary.at_hand.num_samples
    return [
        *_now(summary),
        *made_lines(num_made, summary.unmade, min(width, MAX_WIDTH)),
        *_counted(summary, min(width, MAX_WIDTH)),
        *listed_lines(summary.listed),
    ]


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
    return [rate, f"{percent(live.made_share or 0.0)} made" if is_told else ""]


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


def _counted(summary: Summary, width: int) -> list[str]:
    """Other counters that count something, as many on a line as fit."""
    rows: list[str] = []
    for name, value in with_at_hand(summary.stats, summary.at_hand.stats).items():
        if not value or is_unmade(name):
            continue
        item = f"{name} {text.number(value)}"
        if rows and len(rows[-1]) + 2 + len(item) <= width:
            rows[-1] += f", {item}"
        else:
            rows.append(f"{'' if rows else 'counted':10} {item}")
    return rows
