"""Many transfers at once in one thread: libcurl's multi interface over epoll.

It connects where it is told, reuses connections, and speaks HTTP/1.1 and HTTP/2. Redirects,
deadlines and retries are not its business.
"""

import contextlib
import os
import resource
import select
import sys
import threading
import time
from typing import Any

from hpcpipe.clients.job import Job
from hpcpipe.clients.memory import Memory
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.transfer import Transfer
from hpcpipe.clients.trust import trusted
from hpcpipe.errors import ConfigError, missing_extra

BUFFER_BYTES = 256 << 10
MAX_RULES_BYTES = 512 << 10
"""What is read of robots.txt and its like; RFC 9309 asks for at least 500 KiB."""
_CONNECT_TIMEOUT_S = 24 * 3600
_IDLE_FACTOR = 8
_OTHER_FILES = 100
_SUPPRESS_CONNECT_HEADERS = 265
"""libcurl's number; pycurl has no name for it. What a proxy says of CONNECT is no answer."""


class Connections:
    """A libcurl multi handle, its easy handles and its sockets.

    Attributes:
        num_active: transfers under way.
    """

    def __init__(self, options: FetchOptions, memory: Memory) -> None:
        """Make the multi handle.

        Args:
            options: what every transfer has in common.
            memory: where transfers reserve bytes.

        Raises:
            SetupError: pycurl is not installed, or no certificate can be trusted.
            ConfigError: so many transfers need more files than may be open, or there is no
                `ca_file`.
        """
        try:
            import pycurl
        except ImportError as error:
            raise missing_extra("pycurl", "download", "fetching URLs") from error
        max_connections = _max_connections(options.max_transfers)
        self._trust = trusted(options.ca_file) if options.verify_tls else None
        self._pycurl: Any = pycurl
        self._options = options
        self._memory = memory
        self._free: list[Transfer] = []
        self._all: list[Transfer] = []
        self._active: dict[Transfer, None] = {}
        self._timer: float | None = None
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._sockets: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_connections)

    @property
    def num_active(self) -> int:
        """Transfers under way. Raises nothing."""
        return len(self._active)

    def start(self, job: Job, now: float, reserved_bytes: int) -> Transfer:
        """Start a transfer.

        Args:
            job: what to fetch; its addresses or its proxy are known.
            now: by the fetcher's clock.
            reserved_bytes: of memory, to be released by the transfer.

        Returns:
            The transfer, which `step` or `abort` ends.

        Raises:
            Nothing.
        """
        curl = self._pycurl
        transfer = self._free.pop() if self._free else self._new()
        cap = MAX_RULES_BYTES if job.is_rule else self._options.max_file_bytes
        transfer.begin(job, now, reserved_bytes, cap)
        handle = transfer.curl
        url = job.url
        handle.setopt(curl.URL, url.text)
        handle.setopt(curl.PROXY, job.proxy)
        handle.setopt(curl.PIPEWAIT, url.text[4] == "s")
        pinned = "" if url.host in job.addresses or job.proxy else f"{url.host}:{url.port}"
        if pinned:
            where = ",".join(f"[{one}]" if ":" in one else one for one in job.addresses)
            entries = [f"+{pinned}:{where}"]
            if transfer.pinned not in ("", pinned):
                entries.insert(0, f"-{transfer.pinned}")
            handle.setopt(curl.RESOLVE, entries)
            transfer.pinned = pinned
        self._active[transfer] = None
        self._multi.add_handle(handle)
        return transfer

    def abort(self, transfer: Transfer) -> None:
        """End a transfer now; `Transfer.outcome` is still to be asked. Raises nothing."""
        self._multi.remove_handle(transfer.curl)
        del self._active[transfer]

    def recycle(self, transfer: Transfer) -> None:
        """Take back a transfer that has ended, for another job. Raises nothing."""
        self._free.append(transfer)

    def active(self) -> list[Transfer]:
        """The transfers under way. Raises nothing."""
        return list(self._active)

    def is_connected(self, transfer: Transfer) -> bool:
        """Tell whether a request could be sent at all. Raises nothing."""
        return bool(transfer.curl.getinfo(self._pycurl.PRETRANSFER_TIME))

    def step(self, timeout_s: float) -> list[tuple[Transfer, int, str]]:
        """Wait until something happens, and let libcurl do what is to be done.

        Args:
            timeout_s: to wait at most.

        Returns:
            Transfers that ended, each with libcurl's code and words (0, "" for success).

        Raises:
            OSError: of epoll, or no more file can be opened.
        """
        if self._timer is not None:
            timeout_s = min(timeout_s, self._timer - time.monotonic())
        act = self._multi.socket_action
        for fd, mask in self._epoll.poll(max(0.0, timeout_s)):
            if fd == self._wake_fd:
                os.eventfd_read(fd)
                continue
            bits = 1 if mask & (select.EPOLLIN | select.EPOLLHUP) else 0
            bits |= 2 if mask & select.EPOLLOUT else 0
            bits |= 4 if mask & select.EPOLLERR else 0
            act(fd, bits)
        if self._timer is not None and self._timer <= time.monotonic():
            self._timer = None
            act(self._pycurl.SOCKET_TIMEOUT, 0)
        return self._ended()

    def wake(self) -> None:
        """End a `step` that waits, from another thread. Raises nothing."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Close all connections. Raises nothing."""
        for transfer in self.active():
            self.abort(transfer)
        for transfer in self._all:
            transfer.curl.close()
        self._multi.close()
        self._epoll.close()
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _ended(self) -> list[tuple[Transfer, int, str]]:
        ended: list[tuple[Transfer, int, str]] = []
        num_left = 1
        while num_left:
            num_left, succeeded, failed = self._multi.info_read()
            ended.extend((curl.transfer, 0, "") for curl in succeeded)
            ended.extend((curl.transfer, code, text) for curl, code, text in failed)
        if any(code == self._pycurl.E_COULDNT_CONNECT for _, code, _ in ended):
            self._check_files()
        for transfer, _, _ in ended:
            self.abort(transfer)
        return ended

    def _check_files(self) -> None:
        """Raise OSError where this process, and not a host, is why there is no connection."""
        os.close(os.dup(self._wake_fd))

    def _watch(self, what: int, fd: int, _multi: Any, _data: Any) -> None:
        if what == self._pycurl.POLL_REMOVE:
            self._sockets.discard(fd)
            # libcurl may have closed it already, which removes it as well
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
            return
        mask = select.EPOLLIN if what & 1 else 0
        mask |= select.EPOLLOUT if what & 2 else 0
        if fd in self._sockets:
            self._epoll.modify(fd, mask)
        else:
            self._sockets.add(fd)
            self._epoll.register(fd, mask)

    def _set_timer(self, timeout_ms: int) -> None:
        self._timer = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    def _new(self) -> Transfer:
        curl = self._pycurl
        handle = curl.Curl()
        transfer = handle.transfer = Transfer(handle, self._options, self._memory)
        self._all.append(transfer)
        handle.setopt(curl.NOSIGNAL, 1)
        handle.setopt(curl.PROTOCOLS, curl.PROTO_HTTP | curl.PROTO_HTTPS)
        handle.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        handle.setopt(curl.HTTP_VERSION, curl.CURL_HTTP_VERSION_2TLS)
        handle.setopt(curl.USERAGENT, self._options.user_agent)
        handle.setopt(curl.ACCEPT_ENCODING, "")
        handle.setopt(curl.BUFFERSIZE, BUFFER_BYTES)
        # The engine has deadlines of its own, by a clock that libcurl does not know.
        handle.setopt(curl.CONNECTTIMEOUT, _CONNECT_TIMEOUT_S)
        handle.setopt(curl.WRITEFUNCTION, transfer.write)
        handle.setopt(curl.HEADERFUNCTION, transfer.lines.append)
        handle.setopt(curl.OPENSOCKETFUNCTION, transfer.open_socket)
        # libcurl has settings of its own for the two below: no_proxy, and where certificates lie
        handle.setopt(curl.NOPROXY, "")
        if self._trust is None:
            handle.setopt(curl.SSL_VERIFYPEER, 0)
            handle.setopt(curl.SSL_VERIFYHOST, 0)
        elif self._trust.file:
            handle.setopt(curl.CAINFO, self._trust.file)
        else:
            handle.unsetopt(curl.CAINFO)
            handle.setopt(curl.CAPATH, self._trust.folder)
        return transfer


def _max_connections(max_transfers: int) -> int:
    """Connections to keep: idle ones as well, as many as half of the open files allow."""
    limit = _raised_limit(2 * _IDLE_FACTOR * max_transfers + _OTHER_FILES)
    if max_transfers + _OTHER_FILES > limit:
        raise ConfigError(
            f"max_transfers ({max_transfers}) needs more open files than the {limit} that are "
            "allowed here. Lower it, or have the limit raised (ulimit -Hn)."
        )
    return max(max_transfers, min(_IDLE_FACTOR * max_transfers, limit // 2))


def _raised_limit(wanted: int) -> int:
    """Raise this process's limit of open files as far as wanted and allowed; what it is then."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if limit >= wanted:
        return limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted
