"""What a run has cost and how fast it went, from what its workers say they used.

Every worker counts by itself, a requeued one as often as it began, up to its last beat: what a
killed one did after that is lost. Knows nothing of shards and journals.
"""

from collections.abc import Iterable

import msgspec

from hpcpipe.console import size
from hpcpipe.manifest.usage import Usage

HOUR_S = 3600.0


class Rates(msgspec.Struct, frozen=True):
    """How fast shards were finished over some stretch of time.

    Attributes:
        shards_per_s: shards.
        samples_per_s: their samples.
        bytes_in_per_s: bytes of input read for them.
        bytes_out_per_s: bytes of their outputs.
    """

    shards_per_s: float = 0.0
    samples_per_s: float = 0.0
    bytes_in_per_s: float = 0.0
    bytes_out_per_s: float = 0.0


class Accounting(msgspec.Struct, frozen=True):
    """What workers were given and used, added up.

    Attributes:
        num_workers: workers; one that was requeued counts once for each time it began.
        worker_hours: time from the beginning of their processes to their ends or last beats.
        busy_hours: the part of it inside shards.
        cpu_hours_given: worker time by cores given.
        cpu_hours_used: processor time used.
        gpu_hours_given: worker time by GPUs given.
        idle_share: part of the worker time outside shards (start-up, claiming, waiting), 0 to 1;
            None where there is no worker time.
        cpu_used_share: processor time used by processor time given, 0 to 1 (more where workers
            use cores that they were not given); None where none was given.
    """

    num_workers: int = 0
    worker_hours: float = 0.0
    busy_hours: float = 0.0
    cpu_hours_given: float = 0.0
    cpu_hours_used: float = 0.0
    gpu_hours_given: float = 0.0
    idle_share: float | None = None
    cpu_used_share: float | None = None


def account(usages: Iterable[Usage]) -> Accounting:
    """Add up what workers used.

    Args:
        usages: one of each worker.

    Returns:
        The sums.

    Raises:
        Nothing.
    """
    return add_up(
        Accounting(
            num_workers=1,
            worker_hours=used.wall_s / HOUR_S,
            busy_hours=used.busy_s / HOUR_S,
            cpu_hours_given=used.wall_s * used.cpus / HOUR_S,
            cpu_hours_used=used.cpu_s / HOUR_S,
            gpu_hours_given=used.wall_s * used.gpus / HOUR_S,
        )
        for used in usages
    )


def add_up(parts: Iterable[Accounting]) -> Accounting:
    """Add up accountings, of several runs for instance.

    Args:
        parts: the accountings.

    Returns:
        Their sums, with the shares of the whole.

    Raises:
        Nothing.
    """
    num, worker, busy, given, used, gpu = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for part in parts:
        num += part.num_workers
        worker += part.worker_hours
        busy += part.busy_hours
        given += part.cpu_hours_given
        used += part.cpu_hours_used
        gpu += part.gpu_hours_given
    return Accounting(
        num_workers=num,
        worker_hours=worker,
        busy_hours=busy,
        cpu_hours_given=given,
        cpu_hours_used=used,
        gpu_hours_given=gpu,
        idle_share=max(1 - busy / worker, 0.0) if worker else None,
        cpu_used_share=used / given if given else None,
    )


def covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Measure the time that spans of time cover together.

    Args:
        spans: begin and end of each, in seconds.

    Returns:
        Seconds in at least one of them.

    Raises:
        Nothing.
    """
    covered, latest = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(end - max(begin, latest), 0.0)
        latest = max(latest, end)
    return covered


def used_in_words(accounting: Accounting) -> str:
    """Say what was used: ``12.3 CPU-hours, 4% idle, 31% of the cores used``.

    Args:
        accounting: the sums.

    Returns:
        The words; empty where nothing was.

    Raises:
        Nothing.
    """
    parts = []
    for hours, kind in ((accounting.gpu_hours_given, "GPU"), (accounting.cpu_hours_given, "CPU")):
        if hours:
            parts.append(_hours(hours, kind))
    # Workers that have just begun have told of no shard yet.
    if accounting.idle_share is not None and accounting.busy_hours:
        parts.append(f"{accounting.idle_share:.0%} idle")
    if accounting.cpu_used_share is not None:
        parts.append(f"{accounting.cpu_used_share:.0%} of the cores used")
    return ", ".join(parts)


def _hours(hours: float, kind: str) -> str:
    for factor, unit in ((1, "hours"), (60, "minutes")):
        if hours * factor >= 1:
            return f"{hours * factor:,.1f} {kind}-{unit}"
    return f"{hours * HOUR_S:.1f} {kind}-seconds"


def speed_in_words(rates: Rates) -> str:
    """Say how fast it went: ``1,999 samples/s, 1.2 GiB/s read, 0.9 GiB/s written``.

    Args:
        rates: the rates; zeros are left out.

    Returns:
        The words.

    Raises:
        Nothing.
    """
    parts = [f"{samples(rates.samples_per_s)}/s"] if rates.samples_per_s else []
    for rate, what in ((rates.bytes_in_per_s, "read"), (rates.bytes_out_per_s, "written")):
        if rate:
            parts.append(f"{size(rate)}/s {what}")
    return ", ".join(parts)


def samples(number: float) -> str:
    """Write a number of samples, with a fraction where there are few. Raises nothing."""
    return f"{number:,.0f} samples" if number >= 10 else f"{number:.2g} samples"
