"""Which server gets the next request, and which ones are left alone for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from hpcpipe.clients.llm_cancel import cancel
from hpcpipe.clients.llm_failure import LlmError
from hpcpipe.clients.llm_server import Server
from hpcpipe.errors import OutageError

Probe = Callable[[Server], Awaitable[LlmError | None]]
"""Asks a server the simplest thing; gives what is wrong with it, or None."""

_MIN_LATE_S, _LATE = 1.0, 4.0
"""A request is late after so many seconds, and so many times what others take."""

_Waiter = tuple["asyncio.Future[tuple[Server, int]]", Collection[Server]]


class Pool:
    """Servers, of which each request gets the one with the fewest in flight."""

    def __init__(self, servers: Sequence[Server], probe: Probe, patience_s: float) -> None:
        """Take all for well.

        Args:
            servers: at least one.
            probe: asks one of them.
            patience_s: how long all of them may be left alone.

        Raises:
            Nothing.
        """
        self.servers = servers
        self._probe = probe
        self._patience_s = patience_s
        self._waiters: list[_Waiter] = []
        self._verdicts: dict[Server, asyncio.Task[None]] = {}
        self._well_at = 0.0

    @property
    def is_idle(self) -> bool:
        """True where nobody waits for a place, and there is one. Raises nothing."""
        return not self._waiters and any(server.has_room for server in self.servers)

    @property
    def late_s(self) -> float:
        """After how long a request is late, whichever server has it. Raises nothing."""
        return max(_MIN_LATE_S, _LATE * max(server.mean_s for server in self.servers))

    def begin(self) -> None:
        """Begin anew, in a new event loop: nothing is in flight, patience is whole.

        Servers that were left alone are asked at once.

        Raises:
            Nothing.
        """
        self._well_at = time.monotonic()
        self._waiters.clear()
        self._verdicts.clear()
        for server in self.servers:
            server.forget_requests()
            server.probe_at = 0.0

    def look(self) -> None:
        """Send the probes that are due; to be called several times a second.

        Raises:
            OutageError: all servers are left alone, and have been for too long.
        """
        now = time.monotonic()
        for server in self.servers:
            if server.trouble and server.probe_at <= now and server not in self._verdicts:
                self._verdicts[server] = asyncio.create_task(self._judge(server))
        if not all(server.trouble for server in self.servers):
            self._well_at = now
        elif now - self._well_at >= self._patience_s:
            raise self.outage()

    def outage(self) -> OutageError:
        """Build the error for servers none of which answers. Raises nothing."""
        reasons = "; ".join(f"{server.url}: {server.trouble}" for server in self.servers)
        return OutageError(f"no LLM server answers (stage.servers): {reasons}")

    async def acquire(self, avoid: Collection[Server]) -> tuple[Server, int]:
        """Wait for a place at a server.

        Args:
            avoid: servers that are asked only where no other is well.

        Returns:
            The server, and the ticket to be given back with `release`.

        Raises:
            Nothing.
        """
        server = self._best(avoid) if not self._waiters else None
        if server is not None:
            return server, server.begin()
        future: asyncio.Future[tuple[Server, int]] = asyncio.get_running_loop().create_future()
        self._waiters.append((future, avoid))
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(*future.result())
            raise

    def release(self, server: Server, ticket: int) -> None:
        """Give a place back. Raises nothing."""
        server.end(ticket)
        self._hand_out()

    def leave_alone(self, server: Server, error: LlmError) -> None:
        """Ask a server nothing for a while.

        Args:
            server: which; nothing happens where it is left alone already.
            error: why.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        if not server.trouble:
            server.leave_alone(error.text, error.pause_s)

    def doubt(self, server: Server, error: LlmError) -> None:
        """Ask a server nothing until it has answered a probe, which is sent at once.

        Args:
            server: which; nothing happens where it is left alone already.
            error: how it failed.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        if not server.trouble:
            server.leave_alone(error.text, 0.0)
            self._verdicts[server] = asyncio.create_task(self._judge(server))

    async def is_well(self, server: Server) -> bool:
        """Tell whether a server answers others, once its probe has ended. Raises nothing."""
        verdict = self._verdicts.get(server)
        if verdict is not None:
            await asyncio.shield(verdict)
        return not server.trouble

    async def _judge(self, server: Server) -> None:
        try:
            error = await self._probe(server)
            if error is None:
                server.is_well_again()
            else:
                server.leave_alone(error.text, error.pause_s)
        finally:
            self._verdicts.pop(server, None)
        self._hand_out()

    async def close(self) -> None:
        """Stop probing. Raises nothing."""
        await cancel(self._verdicts.values())

    def _best(self, avoid: Collection[Server]) -> Server | None:
        well = [server for server in self.servers if not server.trouble]
        wanted = [server for server in well if server not in avoid] or well
        free = [server for server in wanted if server.has_room]
        return min(free, key=lambda server: (server.num_in_flight, server.num_asked), default=None)

    def _hand_out(self) -> None:
        """Give free places to those who wait, in their order."""
        index = 0
        while index < len(self._waiters) and any(server.has_room for server in self.servers):
            future, avoid = self._waiters[index]
            if future.done():  # given up
                del self._waiters[index]
                continue
            server = self._best(avoid)
            if server is None:
                index += 1
                continue
            del self._waiters[index]
            future.set_result((server, server.begin()))
