import time
from types import SimpleNamespace

from hpcpipe.manifest.usage import Pace
from hpcpipe.runtime.live import Live, live_of
from hpcpipe.runtime.pace import PaceMeter, live_stats


def said(num_samples=None, num_read=None, **stats):
    stats = {name.replace("__", "."): number for name, number in stats.items()}
    return SimpleNamespace(num_samples=num_samples, num_read=num_read, stats=stats)


def test_only_the_last_two_minutes_count_across_shards_and_failures():
    now = time.monotonic()
    meter = PaceMeter()
    meter.begin(said(100, 1000, failed__x=10))
    pace = meter.pace(now + 10)
    assert (pace.num_samples, pace.num_unmade, pace.bytes_in) == (100, 10, 1000)
    meter.end()  # as it failed, which takes nothing back
    meter.begin(said(50, 0, left_out__y=5))
    pace = meter.pace(now + 20)
    assert (pace.num_samples, pace.num_unmade, pace.bytes_in) == (150, 15, 1000)
    meter.end()
    assert meter.pace(now + 131) == Pace(121.0, 50, 5, 0)
    assert meter.pace(now + 141) == Pace(121.0, 0, 0, 0)


def test_stages_that_say_nothing_have_no_pace():
    meter = PaceMeter()
    meter.begin(said())
    pace = meter.pace(1)
    assert (pace.num_samples, pace.num_unmade, pace.bytes_in) == (0, 0, 0)
    assert live_of([pace, Pace()]) == Live()


def test_workers_add_up():
    live = live_of([Pace(10, 100, 100, 1000), Pace(100, 300, 0, 0)])
    assert live == Live(samples_per_s=13.0, bytes_in_per_s=100.0, made_share=0.8)


def test_counters_for_a_beat_are_few_short_and_finite():
    stats = {f"c{number}": number for number in range(100)}
    stats |= {"x" * 65: 1e9, "nan": float("nan"), "half": 1000.5, "bad\udcff": 2000}
    live = live_stats(SimpleNamespace(stats=stats))
    assert len(live) == 64
    assert list(live)[:3] == ["bad\\udcff", "half", "c99"]
    assert live["half"] == 1000.5
