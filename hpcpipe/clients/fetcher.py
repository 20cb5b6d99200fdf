"""Fetch a stream of URLs, many at once: what the users of this package see."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType

from hpcpipe.clients.engine import Engine
from hpcpipe.clients.job import Job
from hpcpipe.clients.lookups import Lookup, system_lookup
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.records import Fetched, HostStats, Request


class Fetcher:
    """Fetches URLs; keeps connections, names, rules and what it learned of hosts between calls.

    All transfers run in the thread that iterates, while it waits for the next result. What is done
    with a result should therefore be short, or be done by others (threads, processes): meanwhile
    nothing is received. Deadlines stand still as well, so nothing is lost by it but speed.

    Where the environment names a proxy (``http_proxy``, ``https_proxy``, ``all_proxy``, but for
    hosts and domains in ``no_proxy``), that is used and looks the names up: then only addresses
    in URLs themselves, and localhost, can be refused, and what a name leads to is for the proxy
    to judge. Certificates are verified all the same, through the proxy's tunnel.
    """

    def __init__(self, options: FetchOptions, lookup: Lookup = system_lookup) -> None:
        """Be ready to fetch.

        Args:
            options: limits, patience, and what is obeyed.
            lookup: addresses of a name and port; called in several threads.

        Raises:
            SetupError: pycurl or protego is not installed, or no certificate can be trusted.
            ConfigError: so many transfers need more files than may be open, or there is no
                `ca_file`.
        """
        self._options = options
        self._engine = Engine(options, lookup)
        self._is_fetching = False

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fetch(
        self, requests: Iterable[Request], should_end: Callable[[], bool] = lambda: False
    ) -> Generator[Fetched, None, None]:
        """Fetch URLs.

        Args:
            requests: taken as they are needed, in the thread that iterates, up to
                ``max_waiting`` more than were finished.
            should_end: asked before every result and at least once a second; when it says so the
                others are aborted.

        Yields:
            What became of each request, once, in the order in which they end. Closing the iterator
            aborts the others.

        Raises:
            RuntimeError: another `fetch` of this fetcher is not finished.
            OSError: the machine is out of file descriptors or threads.
            Exception: what `requests` raises; it ends the fetching.
        """
        if self._is_fetching:
            raise RuntimeError("one Fetcher fetches for one caller at a time; make another one")
        stream = _Stream(self._engine, self._options.max_waiting, iter(requests), should_end)
        self._is_fetching = True
        try:
            yield from stream
        finally:
            stream.drop()
            self._is_fetching = False
            self._engine.abort()

    def slowest_hosts(self, num: int) -> list[HostStats]:
        """Tell which hosts took longest a transfer, on average.

        Args:
            num: how many.

        Returns:
            At most so many, the slowest first, of the hosts that are remembered.

        Raises:
            Nothing.
        """
        return self._engine.hosts.slowest(num)

    def close(self) -> None:
        """Close all connections; nothing can be fetched any more. Raises nothing."""
        self._engine.close()


class _Stream:
    """One call of `Fetcher.fetch`."""

    def __init__(
        self,
        engine: Engine,
        max_waiting: int,
        requests: Iterator[Request],
        should_end: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._should_end = should_end
        self._max_waiting = max_waiting
        self._requests: Iterator[Request] | None = requests
        self._done: deque[Fetched] = deque()
        self._num_open = 0

    def __iter__(self) -> Iterator[Fetched]:
        engine = self._engine
        while not self._should_end():
            engine.fill(self._next_job)
            if not self._done:
                if not self._num_open and self._requests is None:
                    return
                engine.step()
            while self._done and not self._should_end():
                fetched = self._done.popleft()
                engine.clock.stop()
                try:
                    yield fetched
                finally:
                    engine.clock.go_on()
                    engine.memory.release(len(fetched.content))

    def drop(self) -> None:
        """Forget results that nobody takes any more."""
        while self._done:
            self._engine.memory.release(len(self._done.popleft().content))

    def _next_job(self) -> Job | None:
        if self._requests is None or self._num_open + len(self._done) >= self._max_waiting:
            return None
        self._engine.clock.stop()
        try:
            request = next(self._requests, None)
        finally:
            self._engine.clock.go_on()
        if request is None:
            self._requests = None
            return None
        self._num_open += 1
        return Job(request.index, request.url, self._take)

    def _take(self, fetched: Fetched) -> None:
        self._num_open -= 1
        self._done.append(fetched)
