"""Hours, shares and rates of a run, and of several together."""

import pytest

from hpcpipe.manifest.usage import Usage
from hpcpipe.runtime.accounting import (
    Accounting,
    Rates,
    account,
    add_up,
    covered_s,
    speed_in_words,
    used_in_words,
)

CPU = Usage(cpus=4, wall_s=7200, cpu_s=7200, busy_s=5400)
GPU = Usage(cpus=8, gpus=0.5, wall_s=3600, cpu_s=3600, busy_s=3600)


def test_hours_and_shares():
    one = account([CPU])
    assert (one.num_workers, one.worker_hours, one.busy_hours) == (1, 2.0, 1.5)
    assert (one.cpu_hours_given, one.cpu_hours_used, one.gpu_hours_given) == (8.0, 2.0, 0.0)
    assert (one.idle_share, one.cpu_used_share) == (0.25, 0.25)
    both = account([CPU, GPU])
    assert (both.num_workers, both.worker_hours, both.gpu_hours_given) == (2, 3.0, 0.5)
    assert both.idle_share == pytest.approx(0.5 / 3)
    assert both.cpu_used_share == 3 / 16


def test_runs_add_up_to_what_their_workers_add_up_to():
    assert add_up([account([CPU]), account([]), account([GPU])]) == account([CPU, GPU])
    assert add_up([]) == account([]) == Accounting()


def test_a_worker_that_said_nothing_yet_has_no_shares():
    nothing = account([Usage()])
    assert (nothing.idle_share, nothing.cpu_used_share) == (None, None)
    assert used_in_words(nothing) == ""


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(5, 7)], 2),
        ([(0, 10), (2, 3), (5, 12)], 12),
        ([(20, 30), (0, 10), (10, 11)], 21),
        ([(7, 5)], 0),
    ],
)
def test_time_with_at_least_one_worker(spans, seconds):
    assert covered_s(spans) == seconds


def test_in_words():
    assert used_in_words(account([CPU])) == "8.0 CPU-hours, 25% idle, 25% of the cores used"
    gpu = "30.0 GPU-minutes, 8.0 CPU-hours, 0% idle, 12% of the cores used"
    assert used_in_words(account([GPU])) == gpu
    short = account([Usage(cpus=2, wall_s=6, cpu_s=1, busy_s=3)])
    assert used_in_words(short) == "12.0 CPU-seconds, 50% idle, 8% of the cores used"
    beginning = account([Usage(cpus=2, wall_s=6, cpu_s=1)])
    assert used_in_words(beginning) == "12.0 CPU-seconds, 8% of the cores used"
    assert speed_in_words(Rates()) == ""
    assert speed_in_words(Rates(1, 1999.4, 3 << 19, 2048)) == (
        "1,999 samples/s, 1.5 MiB/s read, 2.0 KiB/s written"
    )
    assert speed_in_words(Rates(0.1, 0.25)) == "0.25 samples/s"
