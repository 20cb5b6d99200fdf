"""Opt-out, as it is found on real connections."""

import json
import threading

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.records import Request
from tests.servers.raw_http import raw_server, redirect, reply

ROBOTS = {"obey_robots_txt": True}
TDM = {"obey_tdmrep": True}
FILE = reply("200 OK", b"x", "Content-Type: image/png")


def test_robots_txt_is_read_once_and_obeyed(fetch, server):
    server.answers["/robots.txt"] = reply(body=b"User-agent: *\nDisallow: /private")
    server.answers["/a"] = server.answers["/private/a"] = FILE
    fetched = fetch(*[f"{server.url}/{path}" for path in ("a", "private/a") * 10], **ROBOTS)
    assert [one.failure for one in fetched] == [None, Failure.ROBOTS_TXT] * 10
    assert fetched[1].error == "robots.txt disallows it"
    assert fetched[1].num_tries == 0
    assert server.paths() == {"/robots.txt": 1, "/a": 10}


def test_rules_are_remembered_between_lists(options, server):
    server.answers["/a"] = FILE
    with Fetcher(options(**ROBOTS, **TDM)) as fetcher:
        for _ in range(3):
            assert [one.failure for one in fetcher.fetch([Request(0, f"{server.url}/a")])] == [None]
    assert server.paths() == {"/robots.txt": 1, "/.well-known/tdmrep.json": 1, "/a": 3}


def test_robots_txt_may_lie_elsewhere_and_be_long(fetch, server):
    long = b"User-agent: hpcpipe\nDisallow: /a\n" + b"#" * (600 << 10) + b"\nDisallow: /b\n"
    server.answers["/robots.txt"] = redirect("/r1")
    server.answers["/r1"] = reply(body=long)
    server.answers["/a"] = server.answers["/b"] = FILE
    a, b = fetch(f"{server.url}/a", f"{server.url}/b", **ROBOTS, max_redirects=0)
    assert (a.failure, b.failure) == (Failure.ROBOTS_TXT, None)


def test_a_host_whose_robots_txt_fails_is_left_alone(fetch, server):
    server.answers["/robots.txt"] = reply("500 Oops")
    server.answers["/a"] = FILE
    (one,) = fetch(f"{server.url}/a", **ROBOTS)
    assert (one.failure, one.http_status) == (Failure.ROBOTS_UNREACHABLE, 500)
    assert one.error == "robots.txt: status 500"
    assert server.paths() == {"/robots.txt": 1}


def test_a_robots_txt_that_never_comes_holds_up_nobody_else(fetch, server):
    server.answers["/robots.txt"] = server.hang
    with raw_server("127.0.0.2") as other:
        other.answers["/a"] = FILE
        late, good = fetch(f"{server.url}/a", f"{other.url}/a", **ROBOTS, deadline_s=1.0)
    assert (late.failure, good.failure) == (Failure.TIMEOUT, None)
    assert "did not come within 1 s" in late.error or late.error.startswith("robots.txt: ")


def test_a_redirect_is_judged_by_the_rules_of_where_it_leads(fetch, server):
    with raw_server("127.0.0.2") as other:
        other.answers["/robots.txt"] = reply(body=b"User-agent: *\nDisallow: /")
        server.answers["/a"] = redirect(f"{other.url}/b")
        (one,) = fetch(f"{server.url}/a", **ROBOTS)
        assert one.failure is Failure.ROBOTS_TXT
        assert other.paths() == {"/robots.txt": 1}


def test_the_tdm_file_is_obeyed(fetch, server):
    rules = [{"location": "/*.jpg$", "tdm-reservation": 1}]
    server.answers["/.well-known/tdmrep.json"] = reply(body=json.dumps(rules).encode())
    server.answers["/a.jpg"] = server.answers["/a.png"] = FILE
    jpg, png = fetch(f"{server.url}/a.jpg", f"{server.url}/a.png", **TDM)
    assert (jpg.failure, png.failure) == (Failure.TDM_RESERVATION, None)
    assert jpg.error == "/.well-known/tdmrep.json reserves /*.jpg$"


def test_headers_are_obeyed_before_the_content_is_taken(fetch, server):
    stop = threading.Event()

    def large(connection, asked):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nX-Robots-Tag: noai, max-image-preview:large\r\n\r\n"
        )
        while not stop.is_set():
            connection.sendall(bytes(1 << 16))

    server.answers["/noai"] = large
    server.answers["/tdm"] = reply("200 OK", b"x", "tdm-reservation: 1")
    server.answers["/other"] = reply("200 OK", b"x", "X-Robots-Tag: otherbot: noindex")
    server.answers["/empty"] = reply("200 OK", b"", "X-Robots-Tag: noindex")
    noai, tdm, other, empty = fetch(*[server.url + path for path in server.answers], **TDM)
    stop.set()
    assert (noai.failure, noai.error) == (Failure.X_ROBOTS_TAG, "X-Robots-Tag: noai")
    assert (tdm.failure, tdm.error) == (Failure.TDM_RESERVATION, "tdm-reservation: 1")
    assert (other.failure, empty.failure) == (None, Failure.X_ROBOTS_TAG)
    assert noai.content == tdm.content == b""
    assert all(one.failure.is_opt_out for one in (noai, tdm, empty))


def test_nothing_is_asked_or_obeyed_that_is_switched_off(fetch, server):
    server.answers["/a"] = reply("200 OK", b"x", "X-Robots-Tag: noai", "tdm-reservation: 1")
    (one,) = fetch(f"{server.url}/a", x_robots_directives=())
    assert one.failure is None
    assert server.paths() == {"/a": 1}
