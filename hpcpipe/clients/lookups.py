"""Threads that look names up; what their answers mean is not decided here."""

import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

Lookup = Callable[[str, int], list[str]]
"""Addresses of a name, asked with a port. Raises OSError, `socket.gaierror` above all."""


class Question(NamedTuple):
    """A name to be looked up.

    Attributes:
        host: the name.
        port: asked with it.
        num_tries: look-ups of it, with this one.
        due: not to be asked before, by `time.monotonic`.
    """

    host: str
    port: int
    num_tries: int
    due: float


class Crew:
    """Threads that answer one question after the other, in order."""

    def __init__(self, max_threads: int, answer: Callable[[Question], None]) -> None:
        """Start no thread yet.

        Args:
            max_threads: look-ups at once.
            answer: called in the threads.

        Raises:
            Nothing.
        """
        self._max_threads = max_threads
        self._answer = answer
        self._asked: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._num_threads = 0

    def ask(self, question: Question) -> None:
        """Have a question answered. Raises nothing."""
        self._asked.put(question)
        if self._num_threads < self._max_threads:
            self._num_threads += 1
            # A look-up may hang for long: a daemon does not keep the process from ending.
            threading.Thread(target=self._work, name="hpcpipe-dns", daemon=True).start()

    def close(self) -> None:
        """Let the threads end, each after the look-up it is at. Raises nothing."""
        self._closed.set()
        for _ in range(self._num_threads):
            self._asked.put(None)

    def _work(self) -> None:
        while question := self._asked.get():
            if self._closed.wait(max(0.0, question.due - time.monotonic())):
                return
            self._answer(question)


def system_lookup(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]
