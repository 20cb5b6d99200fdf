import signal

import pytest

from hpcpipe.runtime.deadline import Deadline, Job
from hpcpipe.runtime.ending import ending
from hpcpipe.runtime.signals import StopFlag

TERM, USR2, INT = signal.SIGTERM, signal.SIGUSR2, signal.SIGINT


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("hpcpipe.runtime.deadline.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def told(tmp_path, number=None):
    flag = StopFlag(tmp_path / "STOP")
    if number is not None:
        flag.signal, flag.reason = number, number.name
    return flag


def job(left_s=3600.0, refusal="", asked=None):
    def queue_again():
        if asked is not None:
            asked.append(True)
        return refusal

    return Job(left_s, queue_again, lambda nodes: None, is_alone=True)


def test_no_shard_is_begun_that_may_not_end_in_time_but_always_one(clock):
    deadline = Deadline(job(1000))
    clock.now += 999
    assert deadline.too_near() == ""
    clock.now -= 899
    deadline.end(100)
    assert deadline.too_near() == ""
    clock.now += 749
    assert deadline.too_near() == ""
    clock.now += 2
    assert deadline.too_near() == "149 s of the job are left, and a shard took up to 100 s"
    deadline.end(1)
    assert "up to 100 s" in deadline.too_near()


def test_without_a_known_end_there_is_time_and_nothing_is_said_to_be_too_long(clock):
    deadline = Deadline(job(None))
    deadline.end(1e9)
    clock.now += 1e9
    assert deadline.too_near() == ""
    assert not deadline.was_whole_job()


@pytest.mark.parametrize(
    ("total_s", "after_s", "expected"),
    [(14400, 14400 - 170, True), (14400, 100, False), (60, 3, True), (14400, 7300, True)],
)
def test_the_first_thing_done_had_a_whole_job_if_the_warning_is_the_limits(
    clock, total_s, after_s, expected
):
    deadline = Deadline(job(total_s))
    clock.now += after_s
    assert deadline.was_whole_job() is expected
    deadline.begin()
    assert deadline.was_whole_job() is expected
    deadline.begin()
    assert not deadline.was_whole_job()


@pytest.mark.parametrize("number", [None, TERM, INT, signal.SIGHUP])
def test_only_the_time_limit_queues_a_job_again(tmp_path, clock, number):
    asked = []
    end = ending(told(tmp_path, number), Deadline(job(asked=asked)), lambda: True)
    assert (end.note, end.queued_again, end.gave_up) == (
        number.name if number else "",
        False,
        False,
    )
    assert asked == []


def test_the_limits_warning_queues_it_again_where_work_is_left(tmp_path, clock):
    deadline = Deadline(job())
    deadline.begin()
    end = ending(told(tmp_path, USR2), deadline, lambda: True)
    assert (end.note, end.queued_again) == ("SIGUSR2; queued again", True)
    end = ending(told(tmp_path, USR2), deadline, lambda: False)
    assert (end.note, end.queued_again, end.gave_up) == ("SIGUSR2", False, False)
    assert ending(told(tmp_path, USR2), Deadline(None), lambda: True).note == "SIGUSR2"


def test_too_little_time_queues_it_again_where_work_is_left(tmp_path, clock):
    deadline = Deadline(job())
    deadline.begin()
    deadline.end(1800)
    clock.now += 1800
    end = ending(told(tmp_path), deadline, lambda: True)
    assert end.queued_again
    assert end.note == "1800 s of the job are left, and a shard took up to 1800 s; queued again"
    assert ending(told(tmp_path), deadline, lambda: False) == ("", False, False)


def test_a_refusal_is_told_with_what_to_do(tmp_path, clock):
    deadline = Deadline(job(refusal="4_1: disabled"))
    deadline.begin()
    end = ending(told(tmp_path, USR2), deadline, lambda: True)
    assert end.gave_up
    assert end.note == ("SIGUSR2; it was not queued again (4_1: disabled): launch again to go on")


def test_a_job_whose_setup_took_all_its_time_is_not_queued_for_ever(tmp_path, clock):
    asked = []
    deadline = Deadline(job(asked=asked))
    clock.now += 3400
    end = ending(told(tmp_path, USR2), deadline, lambda: True)
    assert end.gave_up
    assert "before the first shard began: raise resources.time_min" in end.note
    assert asked == []


def test_a_drained_worker_ends_plainly_and_one_that_cannot_go_on_does_not(tmp_path, clock):
    (tmp_path / "STOP").touch()
    drained = told(tmp_path)
    assert drained.no_more_claims()
    assert not drained.is_set
    assert ending(drained, Deadline(job()), lambda: True) == ("STOP file", False, False)
    broken = told(tmp_path, USR2)
    broken.stop("5 times in a row: disk full")
    assert broken.is_set
    assert ending(broken, Deadline(job()), lambda: True).gave_up
