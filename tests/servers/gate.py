"""A way to a server that can be closed and opened again, while the server keeps what it has."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Gate:
    """Passes connections on; while it is shut they are refused, or get one fixed answer.

    Attributes:
        url: its own address, instead of the server's.
    """

    def __init__(self, server_url: str) -> None:
        """Open the gate on a port of its own.

        Args:
            server_url: ``http://HOST:PORT`` of the server.

        Raises:
            OSError: no port is free.
        """
        target = urlsplit(server_url)
        assert target.hostname
        assert target.port
        self._server = (target.hostname, target.port)
        self._answer = b""
        self._passing: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def shut(self, status: str = "") -> None:
        """Cut all connections off and refuse new ones, or answer them with an HTTP status."""
        self._answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode() if status else b""
        if not status:
            self.close()
        for passing in list(self._passing):
            with contextlib.suppress(OSError):
                passing.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections pass again, at the same port."""
        self._answer = b""
        if self._listener.fileno() == -1:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()

    def _listen(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self._answer:
                client.recv(1 << 16)
                client.sendall(self._answer)
                return
            with socket.create_connection(self._server) as server:
                self._passing |= {client, server}
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()
                self._passing -= {client, server}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate(server_url: str) -> Iterator[Gate]:
    """Open a gate for as long as a ``with`` block lasts. Raises OSError."""
    made = Gate(server_url)
    try:
        yield made
    finally:
        made.shut()
