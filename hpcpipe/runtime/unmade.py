"""Samples that were not made, by what kept them: what counters of two kinds of names mean.

The rule is in `ShardContext.count`. Knows nothing of any stage.
"""

from collections import Counter
from collections.abc import Mapping

import msgspec

FAILED, LEFT_OUT = "failed", "left_out"

Stats = Mapping[str, int | float]


class Unmade(msgspec.Struct, frozen=True):
    """Samples that were not made for one reason.

    Attributes:
        why: what became of them, e.g. ``failed_to_download``.
        name: the class of reason, e.g. ``http_404``.
        number: how many.
        share: part of all samples tried, 0 to 1.
    """

    why: str
    name: str
    number: int
    share: float


def is_unmade(counter: str) -> bool:
    """Tell whether a counter is of samples that were not made. Raises nothing."""
    why, dot, name = counter.partition(".")
    return bool(dot and name) and any(
        why == kind or why.startswith(f"{kind}_") for kind in (FAILED, LEFT_OUT)
    )


def num_unmade(stats: Stats) -> int:
    """Add up the samples that were not made. Raises nothing."""
    return sum([int(number) for counter, number in stats.items() if is_unmade(counter)])


def made_share(num_samples: int, num_unmade: int) -> float | None:
    """Tell which part of the samples tried was made.

    Args:
        num_samples: those that were.
        num_unmade: those that were not.

    Returns:
        0 to 1; None where none was tried.

    Raises:
        Nothing.
    """
    num_tried = num_samples + num_unmade
    return num_samples / num_tried if num_tried else None


def by_reason(stats: Stats, num_samples: int) -> list[Unmade]:
    """Sort samples that were not made by why, then by number.

    Args:
        stats: counters.
        num_samples: samples that were made.

    Returns:
        One record a counter of the two kinds that is not 0, those whys first that count most.

    Raises:
        Nothing.
    """
    numbers = {name: int(number) for name, number in stats.items() if is_unmade(name)}
    num_tried = num_samples + sum(numbers.values())
    found = []
    for counter, number in numbers.items():
        if number > 0:
            why, _, name = counter.partition(".")
            found.append(Unmade(why, name, number, number / num_tried))
    sums = Counter[str]()
    for one in found:
        sums[one.why] += one.number
    return sorted(found, key=lambda one: (-sums[one.why], one.why, -one.number, one.name))
