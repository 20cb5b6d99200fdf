"""An HTTP server that answers as badly as a test wants, on any loopback address."""

import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Asked(NamedTuple):
    """One request as it came; names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes = b""


Answer = Callable[[socket.socket, Asked], None]
"""Writes the answer, whatever it is. Closing the socket ends the connection."""


def reply(status: str = "200 OK", body: bytes = b"", *headers: str, length: bool = True) -> Answer:
    """An answer with a status, headers (``Name: value``) and content."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    data = "\r\n".join([*lines, "", ""]).encode() + body

    def answer(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(data)

    return answer


def redirect(location: str) -> Answer:
    """Send elsewhere."""
    return reply("302 Found", b"", f"Location: {location}")


class RawServer:
    """Answers by path; 404 for paths it does not know.

    Attributes:
        answers: by path, to be changed at any time.
        asked: the requests, in order.
        peak: most requests being answered at once.
        num_connections: accepted.
        port: it listens on.
        url: ``http://ADDRESS:PORT``.
    """

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.peak = 0
        self.num_connections = 0
        self.released = threading.Event()
        self._now = 0
        self._lock = threading.Lock()
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((address, port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{address}:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def paths(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(asked.path for asked in self.asked)

    def hang(self, connection: socket.socket, asked: Asked) -> None:
        """An answer: nothing, until the server is closed."""
        self.released.wait()

    def close(self) -> None:
        """Cut everything off."""
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.num_connections += 1
                self._open.add(connection)
            try:
                with connection.makefile("rb") as stream:
                    while asked := _read_request(stream):
                        self._answer(connection, asked)
            finally:
                with self._lock:
                    self._open.discard(connection)
                connection.close()

    def _answer(self, connection: socket.socket, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.peak = max(self.peak, self._now)
        try:
            self.answers.get(asked.path, reply("404 Not Found"))(connection, asked)
        finally:
            with self._lock:
                self._now -= 1


def _read_request(stream) -> Asked | None:
    first = stream.readline().decode("latin-1").split()
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Asked(first[1], headers, body) if len(first) == 3 else None


@contextlib.contextmanager
def raw_server(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """A server for as long as a ``with`` block lasts. Raises OSError."""
    server = RawServer(address, port, tls)
    try:
        yield server
    finally:
        server.close()
