"""One transfer by one libcurl handle: what comes is judged as it comes, and kept within limits."""

from __future__ import annotations

import io
import os
import re
import socket
from typing import Any, NamedTuple

from hpcpipe.clients.addresses import is_public
from hpcpipe.clients.curl_errors import of_curl
from hpcpipe.clients.failure import Failure, of_status
from hpcpipe.clients.head import Head
from hpcpipe.clients.job import Job
from hpcpipe.clients.memory import Memory
from hpcpipe.clients.opt_out import forbidding_directive, is_reserved
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.resolver import refusal

MAX_DISCARDED_BYTES = 64 << 10
"""Content of errors and redirects that is read, so that the connection can be used again."""
_TIMES = re.compile(r" after \d+ ms")
MAX_PIECES = 64
"""Pieces of content that are kept as they come."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Outcome(NamedTuple):
    """How a transfer ended.

    Attributes:
        failure: None for a file, and for a redirect.
        error: the same in words.
        head: status and headers, as far as they came.
        content: the file.
        num_bytes: bytes of content that came, decoded.
        is_put_back: given up for want of memory, to be tried again.
    """

    failure: Failure | None
    error: str
    head: Head
    content: bytes
    num_bytes: int
    is_put_back: bool


class Descriptor:
    """A file descriptor that is closed with its object."""

    def __init__(self, fd: int) -> None:
        """Own a descriptor. Raises nothing."""
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor. Raises nothing."""
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


class Transfer:
    """A libcurl handle and what it receives; used for one job after the other.

    Attributes:
        curl: the handle.
        job: what it fetches now.
        begun: when, by the fetcher's clock.
        reserved_bytes: of `Memory`, for what came and is to come.
        pinned: the ``name:port`` whose addresses were handed to libcurl.
    """

    __slots__ = (
        *(
            "_packed",
            "_pieces",
            "_directives",
            "_error",
            "_failure",
            "_head",
            "_is_cut",
            "_is_discarded",
        ),
        *("_is_put_back", "_is_refused", "_max_bytes", "_memory", "_options", "begun", "curl"),
        *("job", "lines", "num_bytes", "pinned", "reserved_bytes"),
    )

    job: Job

    def __init__(self, curl: Any, options: FetchOptions, memory: Memory) -> None:
        """Take a handle.

        Args:
            curl: a pycurl handle whose callbacks this sets.
            options: caps, and what is obeyed.
            memory: where bytes are reserved.

        Raises:
            Nothing.
        """
        self.curl = curl
        self._options = options
        self._memory = memory
        self._directives = frozenset(word.lower() for word in options.x_robots_directives)
        self.lines: list[bytes] = []
        self.pinned = ""
        self.reserved_bytes = 0

    def begin(self, job: Job, now: float, reserved_bytes: int, max_bytes: int) -> None:
        """Forget the last job and be ready for another. Raises nothing."""
        self.job = job
        self.begun = now
        self.reserved_bytes = reserved_bytes
        self._max_bytes = max_bytes
        self.num_bytes = 0
        self.lines.clear()
        self._pieces: list[bytes] = []
        self._packed: io.BytesIO | None = None
        self._head: Head | None = None
        self._failure: Failure | None = None
        self._error = ""
        self._is_cut = self._is_discarded = self._is_put_back = self._is_refused = False

    def write(self, data: bytes) -> int | None:
        """Take content as it comes; libcurl calls it.

        Args:
            data: bytes, decoded.

        Returns:
            None to go on, 0 to give the transfer up.

        Raises:
            Nothing.
        """
        if self._head is None and not self._accept():
            return 0
        self.num_bytes += len(data)
        if self._is_discarded:
            return None if self.num_bytes <= MAX_DISCARDED_BYTES else 0
        if self.num_bytes > self._max_bytes:
            if not self.job.is_rule:
                return self.give_up(Failure.TOO_LARGE, f"more than {self._max_bytes} bytes")
            self._is_cut = True
            self._pieces.append(data[: self._max_bytes - self.num_bytes])
            return 0
        if self.num_bytes > self.reserved_bytes and not self._reserve(self.num_bytes):
            return 0
        self._pieces.append(data)
        if len(self._pieces) == MAX_PIECES:
            self._pack()
        return None

    def _pack(self) -> None:
        """Put pieces into a buffer, which grows by copying: dear for few, not for tiny ones."""
        if self._packed is None:
            self._packed = io.BytesIO()
        self._packed.writelines(self._pieces)
        self._pieces.clear()

    def _take_content(self) -> bytes:
        """All content so far; nothing is kept."""
        if self._packed is not None:
            self._pack()
        content = b"".join(self._pieces) if self._packed is None else self._packed.getvalue()
        self._pieces, self._packed = [], None
        return content

    def open_socket(self, _purpose: int, address: Any) -> Descriptor | int:
        """Open the socket of a connection, but to no address that is refused.

        Names were vetted when they were looked up; this sees what libcurl really connects to.

        Args:
            address: family, type, protocol and address.

        Returns:
            The socket, which pycurl duplicates, or -1 where there is none.

        Raises:
            Nothing.
        """
        family, kind, protocol, where = address
        is_free = self._options.allow_private_hosts or self.job.proxy
        if not is_free and not is_public(str(where[0])):
            self._is_refused = True
            self._error = refusal(where[0])
            return -1
        try:
            return Descriptor(socket.socket(family, kind, protocol).detach())
        except OSError:  # no such family here, or too many open files, which `Connections` tells
            return -1

    def give_up(self, failure: Failure, error: str) -> int:
        """Say why the transfer is ended before its time; returns 0. Raises nothing."""
        self._failure, self._error = failure, error
        return 0

    def outcome(self, code: int, message: str) -> Outcome:
        """Judge what came.

        Args:
            code: libcurl's error code; 0 for none.
            message: libcurl's words for it.

        Returns:
            What came of the transfer. The content's bytes stay reserved, the others are released.

        Raises:
            Nothing.
        """
        head = self._head
        if head is None:
            head = Head(self.lines)
            self._judge_head(head)
        content = self._take_content()
        if not self._is_put_back:
            self._judge_end(head, code, message)
        if self._is_put_back or self._failure is not None or self._is_discarded:
            content = b""
        self._memory.release(self.reserved_bytes - len(content))
        self.reserved_bytes = 0
        return Outcome(self._failure, self._error, head, content, self.num_bytes, self._is_put_back)

    def _judge_end(self, head: Head, code: int, message: str) -> None:
        if self._failure is not None:
            return
        if self._is_refused:
            self._failure = Failure.REFUSED_ADDRESS
        elif head.status and self._is_discarded:
            self._judge_status(head)
        elif code and not self._is_cut:
            self._failure = of_curl(code)
            self._error = _TIMES.sub("", message) or f"libcurl's error {code}"
        elif not self.num_bytes:
            self._failure, self._error = Failure.EMPTY, f"status {head.status}, no content"

    def _judge_status(self, head: Head) -> None:
        if head.status in REDIRECTS:
            return
        if 300 <= head.status < 400:
            self._failure = Failure.BAD_REDIRECT
        else:
            self._failure = of_status(head.status) or Failure.BAD_ANSWER
        self._error = f"status {head.status}"

    def _accept(self) -> bool:
        head = self._head = Head(self.lines)
        self._judge_head(head)
        num_bytes = head.content_length()
        if self._failure is not None:
            return False
        if self._is_discarded:
            return num_bytes <= MAX_DISCARDED_BYTES
        if self.job.is_rule:
            return True
        return num_bytes <= self.reserved_bytes or self._reserve(num_bytes)

    def _judge_head(self, head: Head) -> None:
        self._is_discarded = bool(head.status) and not 200 <= head.status < 300
        if self._is_discarded or self.job.is_rule or self._failure is not None:
            return
        options = self._options
        values = head.all("x-robots-tag")
        word = values and forbidding_directive(values, options.agent, self._directives)
        if word:
            self.give_up(Failure.X_ROBOTS_TAG, f"X-Robots-Tag: {word}")
        elif options.obey_tdmrep and is_reserved(head.all("tdm-reservation")):
            self.give_up(Failure.TDM_RESERVATION, "tdm-reservation: 1")
        elif (num_bytes := head.content_length()) > self._max_bytes:
            self.give_up(Failure.TOO_LARGE, f"{num_bytes} bytes, {self._max_bytes} are allowed")

    def _reserve(self, num_bytes: int) -> bool:
        if self._memory.reserve(num_bytes - self.reserved_bytes):
            self.reserved_bytes = num_bytes
            return True
        self._is_put_back = True
        self.job.expected_bytes = min(max(num_bytes, 2 * self.num_bytes), self._max_bytes)
        return False
