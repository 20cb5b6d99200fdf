"""Against a real nginx: what good servers give."""

import contextlib
import itertools
import os
import resource

import pytest

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.records import Request
from hpcpipe.errors import ConfigError
from tests.servers.raw_http import reply


def urls(nginx, num=200):
    return [f"http://127.0.0.1:{nginx.port}/{number}.jpg" for number in range(num)]


def test_every_file_comes_once_and_whole(nginx, fetch):
    fetched = fetch(*urls(nginx))
    assert [one.index for one in fetched] == list(range(200))
    assert [one.failure for one in fetched] == [None] * 200
    for one in fetched:
        assert one.content == (nginx.root / f"{one.index}.jpg").read_bytes()
        assert (one.http_status, one.content_type, one.num_tries) == (200, "image/jpeg", 1)
        assert one.num_bytes == len(one.content)
        assert one.final_url == one.url
        assert 0 < one.seconds < 60


def test_requests_are_taken_as_they_are_needed(nginx, options):
    taken = []

    def requests():
        for number in itertools.count():
            taken.append(number)
            yield Request(number, f"http://127.0.0.1:{nginx.port}/{number % 200}.jpg")

    with Fetcher(options(max_transfers=4)) as fetcher:
        stream = fetcher.fetch(requests())
        first = [next(stream).index for _ in range(20)]
        stream.close()
        assert len(set(first)) == 20
        assert len(taken) < 60
        # closing the iterator leaves a fetcher that can be used again
        assert [one.failure for one in fetcher.fetch([Request(0, urls(nginx)[1])])] == [None]


def test_connections_are_used_again(nginx, fetch, server):
    server.answers["/a"] = reply(body=b"a")
    assert {one.content for one in fetch(*[server.url + "/a"] * 100, max_per_host=2)} == {b"a"}
    assert server.num_connections <= 2


def test_content_coding_is_undone(nginx, fetch):
    (text,) = fetch(f"http://127.0.0.1:{nginx.port}/words.txt")
    assert text.content == (nginx.root / "words.txt").read_bytes()


def test_a_missing_and_an_empty_file_are_told_apart(nginx, fetch):
    base = f"http://127.0.0.1:{nginx.port}"
    missing, empty = fetch(f"{base}/missing.jpg", f"{base}/empty.jpg")
    assert (missing.failure, missing.http_status) == (Failure.NOT_FOUND, 404)
    assert (empty.failure, empty.http_status) == (Failure.EMPTY, 200)
    assert missing.content == empty.content == b""


def test_what_is_no_url_fails_without_a_request(fetch, nginx):
    bad, good = fetch("no url", urls(nginx)[5])
    assert (bad.failure, bad.final_url, bad.num_tries) == (Failure.BAD_URL, "", 0)
    assert bad.error == "no http or https URL"
    assert good.failure is None


def test_many_bad_urls_are_not_piled_up(options):
    taken = []

    def requests():
        for number in range(1000):
            taken.append(number)
            yield Request(number, "bad")

    with Fetcher(options(max_waiting=10)) as fetcher:
        stream = fetcher.fetch(requests())
        next(stream)
        assert len(taken) <= 10
        assert len(list(stream)) == 999


def test_who_asks_says_so(fetch, server):
    server.answers["/a"] = reply(body=b"a")
    fetch(server.url + "/a")
    agent = server.asked[0].headers["user-agent"]
    assert agent.startswith("Mozilla/5.0 (compatible; hpcpipe/")
    assert agent.endswith("; +tests@example.org)")


def test_what_the_list_raises_is_raised_and_ends_it(options, nginx):
    def requests():
        yield Request(0, urls(nginx)[0])
        raise KeyError("the list broke")

    with Fetcher(options()) as fetcher, pytest.raises(KeyError, match="the list broke"):
        list(fetcher.fetch(requests()))


def test_one_caller_at_a_time(options, nginx):
    with Fetcher(options()) as fetcher:
        stream = fetcher.fetch(Request(*one) for one in enumerate(urls(nginx)))
        next(stream)
        with pytest.raises(RuntimeError, match="one caller at a time"):
            next(fetcher.fetch([]))
        stream.close()


def test_hosts_are_counted(options, nginx):
    with Fetcher(options()) as fetcher:
        requests = [*urls(nginx)[:10], f"http://127.0.0.2:{nginx.port}/missing.jpg"]
        list(fetcher.fetch(Request(*one) for one in enumerate(requests)))
        hosts = {host.host: host for host in fetcher.slowest_hosts(10)}
        assert len(fetcher.slowest_hosts(1)) == 1
    good, bad = (hosts[f"127.0.0.{number}:{nginx.port}"] for number in (1, 2))
    assert (good.num_requests, good.num_failures) == (10, 0)
    assert (bad.num_requests, bad.num_failures) == (1, 1)
    assert good.mean_s > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contact": "nobody"}, "contact must be a mail address or a URL"),
        ({"agent": "Mozilla/5.0 x"}, "agent must be a name"),
        ({"max_transfers": 0}, "max_transfers must be at least 1, and is 0"),
        ({"deadline_s": 0.0}, "deadline_s must be more than 0, and is 0.0"),
        ({"max_redirects": -1}, "max_redirects must not be negative"),
        ({"max_held_bytes": 10}, "the largest file would never fit"),
        ({"max_hosts": 10}, "must be at least twice max_waiting"),
    ],
)
def test_options_that_cannot_be_are_refused(options, change, message):
    with pytest.raises(ConfigError, match=message):
        options(**change)


@pytest.fixture
def file_limit():
    """Sets how many files may be open, and how many at most, until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda *limits: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_transfers_than_files_may_be_open_are_refused(options, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    with pytest.raises(
        ConfigError, match=r"max_transfers \(200\) needs more open files than the 256"
    ):
        Fetcher(options(max_transfers=200))
    Fetcher(options(max_transfers=100)).close()


def test_the_limit_of_open_files_is_raised_as_far_as_needed(options, file_limit):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    file_limit(256, most)
    Fetcher(options(max_transfers=200)).close()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (3300, most)
    Fetcher(options(max_transfers=100)).close()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (3300, most)


def test_running_out_of_files_is_no_fault_of_the_hosts(nginx, options):
    with Fetcher(options()) as fetcher:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as files:
            highest = files.enter_context(open(os.devnull, "rb")).fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
            files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
            with contextlib.suppress(OSError):
                while True:
                    files.enter_context(open(os.devnull, "rb"))
            with pytest.raises(OSError, match="Too many open files"):
                list(fetcher.fetch([Request(0, urls(nginx)[0])]))
        (one,) = fetcher.fetch([Request(0, urls(nginx)[0])])
        assert one.failure is None


def test_what_hangs_is_dropped_as_soon_as_the_caller_wants_to_end(server, options):
    server.answers["/good"] = reply("200 OK", b"here")
    server.answers["/stall"] = server.hang
    urls = [f"{server.url}/good", f"{server.url}/stall", f"{server.url}/stall"]
    with Fetcher(options(deadline_s=3600)) as fetcher:
        requests = (Request(*one) for one in enumerate(urls))
        stalled = fetcher.fetch(requests, lambda: server.paths()["/stall"] == 2)
        assert {one.index for one in stalled} <= {0}
        assert [one.content for one in fetcher.fetch([Request(7, urls[0])])] == [b"here"]
