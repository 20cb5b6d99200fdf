"""Requests at the end of a call, sent to a second server where that is likely to be quicker.

Once nothing is left to hand out, quick servers would stand idle until the slowest one has answered
what it has in hand. One of them is asked the same instead: the first answer is taken, and the
other request is hung up. While anything waits for a place, nothing is asked twice.

Source: Dean and Barroso, "The Tail at Scale" (2013), hedged requests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from hpcpipe.clients.llm_cancel import cancel
from hpcpipe.clients.llm_failure import Blame, LlmError
from hpcpipe.clients.llm_pool import Pool
from hpcpipe.clients.llm_server import Server


class Outcome(NamedTuple):
    """What became of a request: a text or a failure, and whose it is."""

    server: Server
    text: str | None
    failure: LlmError | None


Send = Callable[[Server], Awaitable[Outcome]]
"""Sends a request to a server; an `LlmError` is part of what it gives."""


class Hedges:
    """The requests in flight, each at one server or two."""

    def __init__(self, pool: Pool) -> None:
        """Hedge nothing yet.

        Args:
            pool: the servers.

        Raises:
            Nothing.
        """
        self._pool = pool
        self._requests: set[_Request] = set()
        self._is_end = False

    def begin(self) -> None:
        """There is nothing left to hand out: hedge from now on. Raises nothing."""
        self._is_end = True
        self.look()

    async def ask(self, server: Server, ticket: int, send: Send) -> Outcome:
        """Send a request, and wait for the first answer.

        Args:
            server: where to, first.
            ticket: its, given back once the request has ended.
            send: sends it.

        Returns:
            What came first, failures aside that are a server's while the other may yet answer.

        Raises:
            Exception: what `send` raised.
        """
        request = _Request(self._pool, server, ticket, send)
        self._requests.add(request)
        try:
            return await request.outcome
        finally:
            self._requests.discard(request)
            await request.end()
            self.look()

    def look(self) -> None:
        """Hang up hedges that were no help, begin others; to be called several times a second.

        Raises:
            Nothing.
        """
        if not self._is_end:
            return
        now, late_s = time.monotonic(), self._pool.late_s
        for request in self._requests:
            if now - request.sent_at > late_s:
                request.give_hedge_up()
        known = (server for server in self._pool.servers if server.mean_s)
        for server in sorted(known, key=lambda server: server.mean_s):
            while self._pool.is_idle and server.has_room and self._hedge_at(server, now, late_s):
                pass

    def _hedge_at(self, server: Server, now: float, late_s: float) -> bool:
        """Hedge the request that is likely to take the longest yet, if it is quicker here."""
        found, longest_s = None, server.mean_s
        for request in self._requests:
            passed_s = now - request.sent_at
            # What is overdue is likely to be so for as long again.
            left_s = abs(request.server.mean_s - passed_s)
            if request.may_be_hedged_at(server) and passed_s <= late_s and left_s > longest_s:
                found, longest_s = request, left_s
        if found is not None:
            found.hedge_at(server)
        return found is not None


class _Request:
    """One request on its way.

    Attributes:
        server: the first that was asked.
        sent_at: when; monotonic.
        outcome: what becomes of it.
    """

    def __init__(self, pool: Pool, server: Server, ticket: int, send: Send) -> None:
        self.server = server
        self.sent_at = time.monotonic()
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pool = pool
        self._send = send
        self._running: list[asyncio.Future[Outcome]] = []
        self._is_hedged = False
        self._last: Outcome | None = None
        self._begin(server, ticket)

    def may_be_hedged_at(self, server: Server) -> bool:
        return not self._is_hedged and server is not self.server and not self.outcome.done()

    def hedge_at(self, server: Server) -> None:
        self._is_hedged = True
        self._begin(server, server.begin())

    def give_hedge_up(self) -> None:
        """A request that is late is tried again instead, and its places are needed for that."""
        if len(self._running) > 1:
            self._running[1].cancel()

    async def end(self) -> None:
        await cancel(self._running)

    def _begin(self, server: Server, ticket: int) -> None:
        async def send() -> Outcome:
            return await self._send(server)

        def ended(task: asyncio.Future[Outcome]) -> None:
            self._running.remove(task)
            self._pool.release(server, ticket)
            self._judge(task)

        task = asyncio.ensure_future(send())
        # Not in `send` itself, which may be cancelled before it has begun.
        task.add_done_callback(ended)
        self._running.append(task)

    def _judge(self, task: asyncio.Future[Outcome]) -> None:
        if self.outcome.done():
            return
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.outcome.set_exception(error)
                return
            self._last = task.result()
            failure = self._last.failure
            if failure is None or failure.blame not in (Blame.SERVER, Blame.UNKNOWN):
                self.outcome.set_result(self._last)
                return
        if not self._running and self._last is not None:
            self.outcome.set_result(self._last)
