"""Servers that stall, lie, break off and bomb: each URL ends, with the right reason."""

import contextlib
import itertools
import re
import socket
import time

import pyarrow
import pytest

from hpcpipe.clients.failure import Failure
from tests.servers.raw_http import RawServer, raw_server, reply


def send(*pieces: bytes, then=None):
    """An answer of raw bytes; then the connection is closed, or something else happens."""

    def answer(connection, asked):
        for piece in pieces:
            connection.sendall(piece)
        if then:
            then(connection, asked)
        raise ConnectionAbortedError

    return answer


OK = b"HTTP/1.1 200 OK\r\n"


def drip(server: RawServer):
    """A byte now and then, for ever."""

    def answer(connection, asked):
        connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
        while not server.released.wait(0.02):
            connection.sendall(b"x")

    return answer


class Endless:
    """The same bytes again and again; tells how many it could send before the end."""

    def __init__(self, head: bytes, again: bytes):
        self.head, self.again = head, again
        self.num_bytes = 0

    def __call__(self, connection, asked):
        connection.sendall(self.head)
        while True:
            connection.sendall(self.again)
            self.num_bytes += len(self.again)


def test_what_takes_too_long_ends_at_the_deadline(fetch, server):
    server.answers["/silent"] = server.hang
    server.answers["/loris"] = drip(server)
    server.answers["/headers"] = send(b"HTTP/1.1 200 OK\r\nContent-", then=server.hang)
    server.answers["/99"] = send(
        OK + b"Content-Length: 1000\r\n\r\n" + bytes(990), then=server.hang
    )
    server.answers["/good"] = reply(body=b"good")
    begun = time.monotonic()
    *late, good = fetch(*[server.url + path for path in server.answers], deadline_s=2.0)
    assert time.monotonic() - begun < 30
    assert [one.failure for one in late] == [Failure.TIMEOUT] * 4
    assert {one.error for one in late} == {"not done within 2 s"}
    assert [one.http_status for one in late] == [0, 200, 200, 200]
    assert late[3].num_bytes == 990
    assert late[1].num_bytes > 0
    assert (good.failure, good.content) == (None, b"good")


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (send(OK + b"Content-Length: 1000\r\n\r\n" + bytes(10)), Failure.TRUNCATED),
        (send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"), Failure.TRUNCATED),
        (send(), Failure.DISCONNECTED),
        (send(b"HTTP/1.1 200"), Failure.DISCONNECTED),
        (send(b"SSH-2.0-OpenSSH\r\n"), Failure.BAD_ANSWER),
        (send(OK + b"X: " + b"y" * 400_000 + b"\r\n\r\n"), Failure.BAD_ANSWER),
        (reply("200 OK", b"x" * 100, "Content-Encoding: gzip"), Failure.CONTENT_CODING),
        (reply("204 No Content", length=False), Failure.EMPTY),
        (reply("403 Forbidden", b"no"), Failure.FORBIDDEN),
        (reply("401 Unauthorized", b"no"), Failure.HTTP_4XX),
        (reply("410 Gone", b"no"), Failure.NOT_FOUND),
        (reply("429 Too Many Requests"), Failure.TOO_MANY_REQUESTS),
        (reply("503 Service Unavailable"), Failure.HTTP_5XX),
        (reply("304 Not Modified", length=False), Failure.BAD_REDIRECT),
    ],
)
def test_each_way_to_fail_has_its_class(fetch, server, answer, failure):
    server.answers["/a"] = answer
    (one,) = fetch(server.url + "/a")
    assert one.failure is failure
    assert one.error
    assert one.content == b""


def test_more_than_was_announced_is_not_taken(fetch, server):
    server.answers["/a"] = send(OK + b"Content-Length: 3\r\n\r\nabcdef")
    (one,) = fetch(server.url + "/a")
    assert (one.failure, one.content) == (None, b"abc")


def test_too_much_is_given_up_as_soon_as_it_shows(fetch, server):
    server.answers["/announced"] = send(OK + b"Content-Length: 10000000000\r\n\r\n")
    server.answers["/endless"] = Endless(OK + b"\r\n", bytes(1 << 16))
    server.answers["/good"] = reply(body=bytes(1 << 20))
    *large, good = fetch(*[server.url + path for path in server.answers])
    assert [one.failure for one in large] == [Failure.TOO_LARGE] * 2
    assert [one.num_bytes < 3 << 20 for one in large] == [True] * 2
    assert large[0].error == "10000000000 bytes, 1048576 are allowed"
    assert large[1].error == "more than 1048576 bytes"
    assert (good.failure, good.num_bytes) == (None, 1 << 20)


@pytest.mark.parametrize("length", [b"Content-Length: 10000000000\r\n", b""])
def test_of_10_gb_nothing_is_read_after_the_cap(fetch, server, length):
    # an error page that size is no reason to read on either
    for path, status in (("/a", b"200 OK"), ("/b", b"404 No")):
        answer = Endless(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n", bytes(1 << 16))
        server.answers[path] = answer
    large, missing = fetch(f"{server.url}/a", f"{server.url}/b")
    assert (large.failure, missing.failure) == (Failure.TOO_LARGE, Failure.NOT_FOUND)
    server.close()
    for answer in server.answers.values():
        assert answer.num_bytes < 32 << 20  # what the buffers of both ends take


def bomb(*codings: str) -> bytes:
    data = bytes(100 << 20)
    for coding in codings:
        codec = {"br": "brotli", "gzip": "gzip", "zstd": "zstd"}[coding]
        data = pyarrow.compress(data, codec=codec, asbytes=True)
    return data


@pytest.mark.parametrize("codings", [("gzip",), ("br",), ("gzip", "gzip"), ("br", "gzip", "br")])
def test_a_bomb_is_given_up_at_the_cap(fetch, server, codings):
    content = bomb(*codings)
    server.answers["/a"] = reply("200 OK", content, f"Content-Encoding: {', '.join(codings)}")
    (one,) = fetch(f"{server.url}/a")
    assert (one.failure, one.content) == (Failure.TOO_LARGE, b"")
    assert one.num_bytes < 3 << 20


def test_codings_that_were_not_asked_for_are_not_taken(fetch, server):
    server.answers["/zstd"] = reply("200 OK", bomb("zstd"), "Content-Encoding: zstd")
    server.answers["/many"] = reply("200 OK", b"x", "Content-Encoding: " + ",gzip" * 1000)
    for one in fetch(f"{server.url}/zstd", f"{server.url}/many"):
        assert (one.failure, one.num_bytes) == (Failure.CONTENT_CODING, 0)
    asked_for = {coding.strip() for coding in server.asked[0].headers["accept-encoding"].split(",")}
    assert asked_for <= {"gzip", "deflate", "br"}


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (OK, b"X-Header: one more\r\n"),
        (OK + b"X: ", b"y" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-Trailer: one more\r\n"),
    ],
)
def test_a_head_without_end_is_given_up(fetch, server, head, again):
    answer = server.answers["/a"] = Endless(head, again)
    (one,) = fetch(f"{server.url}/a", deadline_s=30.0)
    assert one.failure in {Failure.BAD_ANSWER, Failure.DISCONNECTED}
    server.close()
    assert answer.num_bytes < 32 << 20


def test_the_content_of_an_error_does_not_matter(fetch, server):
    server.answers["/large"] = send(b"HTTP/1.1 404 No\r\nContent-Length: 999999999\r\n\r\nx")
    server.answers["/broken"] = send(b"HTTP/1.1 404 No\r\nContent-Length: 100\r\n\r\nx")
    fetched = fetch(server.url + "/large", server.url + "/broken")
    assert [one.failure for one in fetched] == [Failure.NOT_FOUND] * 2


def test_who_does_not_listen_is_no_connection(fetch, server):
    server.close()
    (one,) = fetch(server.url + "/a")
    assert (one.failure, one.http_status) == (Failure.CONNECT, 0)


def test_a_connection_that_does_not_come_about_is_given_up(fetch):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it never says a word
        (one,) = fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/a", connect_timeout_s=0.5)
    assert (one.failure, one.error) == (Failure.CONNECT, "no connection within 0.5 s")


def test_the_rest_goes_on_while_one_host_never_answers(fetch, nginx):
    with raw_server("127.0.0.2") as silent:
        silent.answers["/a"] = silent.hang
        urls = []
        for number in range(100):
            urls.append(f"http://127.0.0.1:{nginx.port}/{number}.jpg")
            urls.append(f"{silent.url}/a")
        fetched = fetch(*urls, deadline_s=2.0, max_transfers=8, max_per_host=4, dead_after=4)
    assert [one.failure for one in fetched[::2]] == [None] * 100
    assert max(one.seconds for one in fetched[::2]) < 2
    failures = [one.failure for one in fetched[1::2]]
    assert failures.count(Failure.TIMEOUT) == 4
    assert failures.count(Failure.DEAD_HOST) == 96


def test_a_host_of_few_transfers_is_found_dead_in_one_round(fetch, server):
    server.answers["/a"] = server.hang
    urls = [f"{server.url}/a"] * 10
    fetched = fetch(*urls, deadline_s=1.0, max_per_host=3, dead_after=8)
    failures = [one.failure for one in fetched]
    assert failures.count(Failure.TIMEOUT) == 3
    assert failures.count(Failure.DEAD_HOST) == 7


def test_a_host_that_answers_now_and_then_gives_all_its_files(fetch, server):
    tries = itertools.count()

    def answer(connection, asked):
        number = next(tries) % 4
        if number == 0:
            raise ConnectionAbortedError
        if number == 1:
            connection.sendall(OK + b"Content-Length: 100\r\n\r\nx")
            raise ConnectionAbortedError
        reply(*(("503 Busy",) if number == 2 else ("200 OK", b"good")))(connection, asked)

    server.answers["/a"] = answer
    urls = [f"{server.url}/a"] * 20
    fetched = fetch(*urls, max_tries=100, max_per_host=1, dead_after=2)
    assert [(one.failure, one.content) for one in fetched] == [(None, b"good")] * 20


def test_a_host_that_takes_no_connection_is_given_up(fetch):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        contextlib.ExitStack() as few,
    ):
        where = listener.getsockname()
        for _ in range(4):  # fill the queue of those to be accepted, which nobody does
            one = few.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(where)
        (late,) = fetch(f"http://127.0.0.1:{where[1]}/a", connect_timeout_s=0.5)
    assert (late.failure, late.error) == (Failure.CONNECT, "no connection within 0.5 s")
    assert late.seconds < 30


def test_words_of_an_error_are_the_same_however_long_it_took(fetch):
    (refused,) = fetch("http://127.0.0.1:1/")
    assert refused.failure is Failure.CONNECT
    assert not re.search(r"\d+ ms", refused.error)
