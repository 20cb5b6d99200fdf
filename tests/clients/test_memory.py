import tracemalloc

from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.memory import Memory
from hpcpipe.clients.records import Request
from tests.servers.raw_http import raw_server, reply

MB = 1 << 20


def test_an_account_keeps_its_limit():
    memory = Memory(100)
    assert memory.has_room(1000)
    assert memory.reserve(60)
    assert not memory.reserve(60)
    assert not memory.has_room(60)
    memory.release(60)
    assert memory.held_bytes == 0


def held_at_once(fetcher: Fetcher, urls: list[str]) -> tuple[int, list]:
    """Most bytes held by a fetcher, seen whenever a result comes, and the results."""
    most, results = 0, []
    for one in fetcher.fetch(Request(*one) for one in enumerate(urls)):
        most = max(most, fetcher._engine.memory.held_bytes)
        results.append((one.failure, len(one.content), one.num_tries))
    assert fetcher._engine.memory.held_bytes == 0
    return most, results


def test_no_more_bytes_are_held_than_allowed(options, server):
    server.answers["/known"] = reply(body=bytes(MB))
    server.answers["/unknown"] = _without_length
    with Fetcher(options(max_held_bytes=3 * MB, max_per_host=32)) as fetcher:
        urls = [server.url + path for path in ("/known", "/unknown")] * 20
        most, results = held_at_once(fetcher, urls)
    assert most <= 3 * MB
    assert results == [(None, MB, 1)] * 40


def test_a_file_as_large_as_the_limit_comes_all_the_same(options, server):
    server.answers["/a"] = reply(body=bytes(MB))
    with Fetcher(options(max_held_bytes=MB, max_file_bytes=MB)) as fetcher:
        most, results = held_at_once(fetcher, [f"{server.url}/a"] * 8)
    assert most == MB
    assert results == [(None, MB, 1)] * 8


def test_nothing_stays_reserved_after_an_abort(options, nginx):
    with raw_server("127.0.0.2") as slow, Fetcher(options()) as fetcher:
        slow.answers["/a"] = slow.hang
        urls = [f"http://127.0.0.1:{nginx.port}/{number}.jpg" for number in range(100)]
        stream = fetcher.fetch(Request(*one) for one in enumerate([f"{slow.url}/a", *urls]))
        next(stream)
        stream.close()
        assert fetcher._engine.memory.held_bytes == 0


def test_content_in_tiny_pieces_takes_no_more_memory_than_in_one(options, server):
    server.answers["/a"] = _tiny_pieces
    with Fetcher(options()) as fetcher:
        tracemalloc.start()
        (one,) = fetcher.fetch([Request(0, f"{server.url}/a")])
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert one.content == b"ab" * 100_000
    assert peak_bytes < 3 * MB


def _tiny_pieces(connection, asked):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"2\r\nab\r\n" * 1000)
    connection.sendall(b"0\r\n\r\n")


def _without_length(connection, asked):
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(MB))
    raise ConnectionAbortedError
