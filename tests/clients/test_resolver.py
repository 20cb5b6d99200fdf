import socket
import threading
import time

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.records import Request
from tests.servers.raw_http import raw_server, reply


class Names:
    """A look-up that counts, and fails as it is told."""

    def __init__(self, **names):
        self.names = names
        self.asked = []

    def __call__(self, host, port):
        self.asked.append(host)
        found = self.names[host.removesuffix(".test")]
        if callable(found):
            found = found()
        if isinstance(found, Exception):
            raise found
        return found


UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_names_are_looked_up_once_and_sent_to_the_server(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    names = Names(one=["127.0.0.1"], two=["127.0.0.1"])
    urls = [f"http://{name}.test:{server.port}/a" for name in ("one", "two") * 20]
    assert {one.failure for one in fetch(*urls, lookup=names)} == {None}
    assert sorted(names.asked) == ["one.test", "two.test"]
    assert {asked.headers["host"] for asked in server.asked} == {
        f"{name}.test:{server.port}" for name in ("one", "two")
    }


def test_the_system_knows_localhost(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    (one,) = fetch(f"http://localhost:{server.port}/a")
    assert one.content == b"x"


def test_unknown_names_are_remembered(options):
    names = Names(gone=UNKNOWN, empty=[])
    with Fetcher(options(), names) as fetcher:
        for _ in range(2):
            gone, empty = sorted(
                fetcher.fetch([Request(0, "http://gone.test/"), Request(1, "http://empty.test/")]),
                key=lambda one: one.index,
            )
            assert gone.failure is empty.failure is Failure.UNKNOWN_HOST
            assert "Name or service not known" in gone.error
    assert sorted(names.asked) == ["empty.test", "gone.test"]


def test_what_fails_for_now_is_asked_again(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    answers = iter([AGAIN, AGAIN, ["127.0.0.1"]])
    names = Names(slow=lambda: next(answers), never=AGAIN)
    slow, never = fetch(
        f"http://slow.test:{server.port}/a", f"http://never.test:{server.port}/a", lookup=names
    )
    assert slow.content == b"x"
    assert never.failure is Failure.DNS
    assert names.asked.count("never.test") == 3


def test_names_that_are_asked_again_hold_up_no_others(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    names = Names(good=["127.0.0.1"], **{f"bad{number}": AGAIN for number in range(20)})
    urls = [f"http://bad{number}.test/" for number in range(20)]
    urls.append(f"http://good.test:{server.port}/a")
    # each of them would pause for longer than there is time, in the only thread
    *bad, good = fetch(*urls, lookup=names, dns_threads=1, backoff_s=60.0, deadline_s=3.0)
    assert {one.failure for one in bad} == {Failure.DNS}
    assert good.content == b"x"


def test_a_name_that_nobody_waits_for_is_not_asked_again(options, server):
    server.answers["/a"] = reply(body=b"x")
    given_up = threading.Event()

    def second():
        given_up.wait(60)
        return AGAIN

    answers = iter([lambda: AGAIN, second])
    names = Names(bad=lambda: next(answers)(), good=["127.0.0.1"])
    with Fetcher(options(deadline_s=1.0, backoff_s=0.1), names) as fetcher:
        (bad,) = fetcher.fetch([Request(0, "http://bad.test/")])
        assert bad.failure is Failure.DNS
        given_up.set()
        end = time.monotonic() + 30
        while fetcher._engine._resolver._waiting and time.monotonic() < end:
            list(fetcher.fetch([Request(0, f"http://good.test:{server.port}/a")]))
        (again,) = fetcher.fetch([Request(0, "http://bad.test/")])
        assert "Temporary failure" in again.error  # remembered
    assert names.asked.count("bad.test") == 2


def test_addresses_are_asked_for_again_after_their_time(options, server):
    server.answers["/a"] = reply(body=b"x")
    names = Names(a=["127.0.0.1"])
    with Fetcher(options(dns_ttl_s=0.001), names) as fetcher:
        for _ in range(3):
            list(fetcher.fetch([Request(0, f"http://a.test:{server.port}/a")]))
            time.sleep(0.01)
    assert len(names.asked) == 3


def test_the_next_address_is_tried_where_one_does_not_answer(fetch):
    with raw_server("127.0.0.3") as server:
        server.answers["/a"] = reply(body=b"x")
        names = Names(a=["127.0.0.2", "127.0.0.3"])
        (one,) = fetch(f"http://a.test:{server.port}/a", lookup=names)
    assert one.content == b"x"


def test_a_look_up_that_hangs_holds_up_nobody_else(fetch, server):
    server.answers["/a"] = reply(body=b"x")
    ended = threading.Event()
    names = Names(hangs=lambda: ended.wait(60) and UNKNOWN, good=["127.0.0.1"])
    hangs, good = fetch(
        f"http://hangs.test:{server.port}/a",
        f"http://good.test:{server.port}/a",
        lookup=names,
        deadline_s=2.0,
    )
    ended.set()
    assert (hangs.failure, hangs.error) == (
        Failure.DNS,
        "the name was not looked up within 2 s",
    )
    assert good.content == b"x"
