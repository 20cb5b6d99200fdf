"""Limits, pauses, retries: how hosts are dealt with."""

import datetime
import email.utils
import itertools
import threading
import time

import pytest

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.head import Head
from hpcpipe.clients.host import Host
from hpcpipe.clients.manners import note
from hpcpipe.clients.records import Request
from hpcpipe.clients.transfer import Outcome
from tests.servers.raw_http import raw_server, reply


def in_turn(*answers):
    """The first answer first, and the last from then on."""
    left = list(answers)

    def answer(connection, asked):
        (left.pop(0) if len(left) > 1 else left[0])(connection, asked)

    return answer


def test_no_host_gets_more_at_once_than_allowed(fetch, server):
    together = threading.Barrier(3)

    def answer(connection, asked):
        together.wait(30)
        reply(body=b"x")(connection, asked)

    server.answers["/a"] = answer
    fetched = fetch(*[f"{server.url}/a"] * 30, max_per_host=3, max_transfers=30)
    assert [one.failure for one in fetched] == [None] * 30
    assert server.peak == 3


def test_no_more_at_once_than_allowed_in_all(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    fetch(*[f"{server.url}/a"] * 50, max_per_host=50, max_transfers=5)
    assert server.peak <= 5


def test_a_rate_is_kept(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    begun = time.monotonic()
    fetch(*[f"{server.url}/a"] * 6, host_rate_per_s=10.0)
    assert time.monotonic() - begun >= 0.49


def test_waiting_for_ones_turn_is_no_part_of_the_deadline(fetch, server):
    def slow(connection, asked):
        time.sleep(0.2)
        reply(body=b"x")(connection, asked)

    server.answers["/a"] = slow
    fetched = fetch(*[f"{server.url}/a"] * 12, max_per_host=1, deadline_s=2.0)
    assert [one.failure for one in fetched] == [None] * 12
    assert max(one.seconds for one in fetched) < 2


def test_waiting_for_ones_turn_has_an_end(fetch, server):
    server.answers["/a"] = server.hang
    first, second = fetch(*[f"{server.url}/a"] * 2, max_per_host=1, deadline_s=3.0, host_wait_s=0.5)
    assert (first.failure, second.failure) == (Failure.TIMEOUT, Failure.HOST_BUSY)
    assert second.error == "the host's turn did not come within 0.5 s"
    assert server.paths()["/a"] == 1


def test_what_may_pass_is_tried_again(fetch, server):
    broken = reply("500 Oops")
    server.answers["/a"] = in_turn(broken, broken, reply(body=b"x"))
    (one,) = fetch(f"{server.url}/a", max_tries=3)
    assert (one.failure, one.content, one.num_tries) == (None, b"x", 3)
    server.answers["/b"] = broken
    (one,) = fetch(f"{server.url}/b", max_tries=3)
    assert (one.failure, one.http_status, one.num_tries) == (Failure.HTTP_5XX, 500, 3)


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "204 No Content"])
def test_what_does_not_pass_is_not_tried_again(fetch, server, status):
    server.answers["/a"] = reply(status, length=status[0] == "4")
    (one,) = fetch(f"{server.url}/a", max_tries=3)
    assert (one.num_tries, server.paths()["/a"]) == (1, 1)


def test_no_try_begins_after_the_deadline(fetch, server):
    server.answers["/a"] = reply("503 Busy")
    (one,) = fetch(f"{server.url}/a", max_tries=1000, deadline_s=1.0, backoff_s=0.1)
    assert one.failure is Failure.HTTP_5XX
    assert 2 <= one.num_tries < 20


def test_a_pause_asked_for_is_kept_by_all_requests_of_the_host(fetch, server):
    times = []

    def limited(connection, asked):
        times.append(time.monotonic())
        first = len(times) == 1
        answer = reply("429 Slow Down", b"", "Retry-After: 1") if first else reply(body=b"x")
        answer(connection, asked)

    server.answers["/a"] = limited
    fetched = fetch(*[f"{server.url}/a"] * 4, max_per_host=1, max_tries=2)
    assert [one.failure for one in fetched] == [None] * 4
    assert times[1] - times[0] >= 0.99


def test_a_pause_may_end_at_a_date(fetch, server):
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    date = email.utils.format_datetime(later, usegmt=True)
    server.answers["/a"] = in_turn(reply("503 Busy", b"", f"Retry-After: {date}"), reply(body=b"x"))
    (one,) = fetch(f"{server.url}/a", max_tries=2)
    assert one.failure is None
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.05)
    assert now >= later.replace(microsecond=0)


def test_a_pause_longer_than_the_patience_ends_all_at_once(fetch, server):
    server.answers["/a"] = reply("429 Slow Down", b"", "Retry-After: 999999999")
    first, *others = fetch(*[f"{server.url}/a"] * 5, max_per_host=1, max_tries=3)
    assert (first.failure, first.num_tries) == (Failure.TOO_MANY_REQUESTS, 1)
    assert {one.failure for one in others} == {Failure.HOST_BUSY}
    assert others[0].error == f"127.0.0.1:{server.port} asks for a pause of 86400 s"
    assert len(server.asked) == 1


def test_without_a_time_the_pauses_grow(fetch, server):
    times = []

    def limited(connection, asked):
        times.append(time.monotonic())
        reply("429 Slow Down")(connection, asked)

    server.answers["/a"] = limited
    fetch(f"{server.url}/a", max_tries=4, backoff_s=0.1)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert len(pauses) == 3
    assert pauses[0] >= 0.09
    assert pauses[2] >= 0.39


def test_a_host_that_does_not_answer_is_dead_for_a_while(options, server):
    server.close()
    with Fetcher(options(dead_after=3, max_per_host=1, dead_host_s=0.5)) as fetcher:
        urls = [Request(number, f"{server.url}/a") for number in range(10)]
        fetched = sorted(fetcher.fetch(urls), key=lambda one: one.index)
        assert [one.failure for one in fetched] == [Failure.CONNECT] * 3 + [Failure.DEAD_HOST] * 7
        assert fetched[3].error == f"127.0.0.1:{server.port} did not answer 3 times in a row"
        (again,) = fetcher.fetch(urls[:1])
        assert again.failure is Failure.DEAD_HOST
        with raw_server("127.0.0.1", server.port) as alive:
            alive.answers["/a"] = reply(body=b"x")
            end = time.monotonic() + 30
            while again.failure and time.monotonic() < end:
                (again,) = fetcher.fetch(urls[:1])
            assert again.content == b"x"


def test_a_host_that_answers_now_and_then_is_not_dead(options):
    host, patience = Host("a:80"), options(dead_after=2, connect_timeout_s=1.0)

    def ended(failure, *lines):
        outcome = Outcome(failure, "", Head([*lines]), b"", 0, False)
        return note(host, outcome, 2.0, 0.0, patience)

    for _ in range(3):
        assert not ended(Failure.CONNECT)
        assert not ended(Failure.HTTP_5XX, b"HTTP/1.1 500 Oops")
    assert not ended(Failure.TIMEOUT)
    assert ended(Failure.CONNECT)
    assert host.dead_until == 60.0


def test_many_urls_of_one_host_do_not_hold_up_the_others(options, nginx):
    with (
        raw_server("127.0.0.2") as silent,
        Fetcher(options(max_transfers=6, max_per_host=2, max_waiting=200)) as fetcher,
    ):
        silent.answers["/a"] = silent.hang
        urls = [f"{silent.url}/a"] * 100
        urls += [f"http://127.0.0.1:{nginx.port}/{number}.jpg" for number in range(100)]
        stream = fetcher.fetch(Request(*one) for one in enumerate(urls))
        done = [next(stream).index for _ in range(100)]
        assert sorted(done) == list(range(100, 200))
        stream.close()


def test_the_callers_own_time_makes_nothing_late(options, server):
    server.answers["/a"] = reply(body=b"x" * 500_000)
    with Fetcher(options(deadline_s=1.0, max_per_host=2)) as fetcher:
        failures = []
        for one in fetcher.fetch(Request(n, f"{server.url}/a") for n in range(4)):
            failures.append(one.failure)
            time.sleep(1.2)
    assert failures == [None] * 4
