"""What goes on in a run just now: how fast, and what is in the shards at hand."""

from collections.abc import Callable, Iterable

import msgspec

from hpcpipe.manifest.heartbeat import Beat
from hpcpipe.manifest.usage import Pace
from hpcpipe.runtime.unmade import made_share


class Live(msgspec.Struct, frozen=True):
    """How it goes of late, by what stages say inside shards; a failed attempt's work included.

    Attributes:
        samples_per_s: samples made.
        bytes_in_per_s: bytes of input read.
        made_share: part of the samples tried that was made, 0 to 1; None where none was tried.
    """

    samples_per_s: float = 0.0
    bytes_in_per_s: float = 0.0
    made_share: float | None = None


class AtHand(msgspec.Struct, frozen=True):
    """What is in the shards that running workers have at hand, by their last beats.

    Attributes:
        num_shards: these shards.
        num_samples: samples made of them.
        bytes_in: bytes of input read for them.
        stats: their counters, summed.
    """

    num_shards: int = 0
    num_samples: int = 0
    bytes_in: int = 0
    stats: dict[str, int | float] = {}


def live_of(paces: Iterable[Pace]) -> Live:
    """Add up how fast workers go.

    Args:
        paces: one of each.

    Returns:
        The sums.

    Raises:
        Nothing.
    """
    samples_per_s, bytes_in_per_s, num_samples, num_unmade = 0.0, 0.0, 0, 0
    for pace in paces:
        if pace.seconds > 0:
            samples_per_s += pace.num_samples / pace.seconds
            bytes_in_per_s += pace.bytes_in / pace.seconds
            num_samples += pace.num_samples
            num_unmade += pace.num_unmade
    return Live(samples_per_s, bytes_in_per_s, made_share(num_samples, num_unmade))


def at_hand(beats: Iterable[Beat], is_done: Callable[[str], bool]) -> AtHand:
    """Add up what is in the shards at hand.

    Args:
        beats: the last ones of running workers.
        is_done: whether a shard is done by now, and is in the sums of the run.

    Returns:
        The sums.

    Raises:
        Nothing.
    """
    num_shards, num_samples, bytes_in = 0, 0, 0
    stats: dict[str, int | float] = {}
    for beat in beats:
        if not beat.shard or is_done(beat.shard):
            continue
        num_shards += 1
        num_samples += beat.num_samples
        bytes_in += beat.bytes_in
        for name, number in beat.stats.items():
            stats[name] = stats.get(name, 0) + number
    return AtHand(num_shards, num_samples, bytes_in, dict(sorted(stats.items())))


def with_at_hand(
    stats: dict[str, int | float], more: dict[str, int | float]
) -> dict[str, int | float]:
    """Add the counters of shards at hand to those of finished ones. Raises nothing."""
    return {
        name: stats.get(name, 0) + more.get(name, 0) for name in sorted(stats.keys() | more.keys())
    }
