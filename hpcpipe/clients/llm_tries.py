"""One question, tried at one server after the other until it is answered or has failed for good.

Once there is nothing else to ask, and servers have room, a question that takes much longer than
others is tried at a second one without waiting for the first: else the last few that time out,
three times one after the other, would make everybody wait.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hpcpipe.clients import llm_api
from hpcpipe.clients.llm_cancel import cancel
from hpcpipe.clients.llm_failure import DISCONNECTED, Blame, LlmError
from hpcpipe.clients.llm_hedges import Hedges, Outcome
from hpcpipe.clients.llm_options import ChatModel
from hpcpipe.clients.llm_pool import Pool
from hpcpipe.clients.llm_records import Answer, Judge, Question
from hpcpipe.clients.llm_server import Server

Send = Callable[[Server, bytes], Awaitable[bytes]]
"""Sends a request; gives the answer's content, or raises LlmError."""

_MAX_REFUSED = 10
"""A question that servers refuse so often, and answer others, is itself at fault."""
_LOOK_S = 0.2


class Tries:
    """How questions are tried; the same for all of one call."""

    def __init__(
        self,
        model: ChatModel,
        pool: Pool,
        send: Send,
        judge: Judge,
        max_tries: int,
    ) -> None:
        """Try nothing yet.

        Args:
            model: what every request says.
            pool: the servers.
            send: sends a request to one of them.
            judge: judges what the model says.
            max_tries: of one question.

        Raises:
            Nothing.
        """
        self._model = model
        self._pool = pool
        self._send = send
        self._judge = judge
        self._max_tries = max_tries
        self._hedges = Hedges(pool)
        self._is_over = False
        self._sleeping: set[asyncio.Future[None]] = set()

    def no_more(self) -> None:
        """There is nothing else to ask: the last ones may be hurried. Raises nothing."""
        if not self._is_over:
            self._is_over = True
            self._hedges.begin()
        for sleeping in self._sleeping:
            if not sleeping.done():
                sleeping.set_result(None)

    def look(self) -> None:
        """Look whether the last ones can be hurried; to be called several times a second.

        Raises:
            Nothing.
        """
        self._hedges.look()

    async def answer(self, question: Question) -> Answer:
        """Ask a question until it is answered, or has failed for good. Raises nothing."""
        tried: set[Server] = set()
        running: set[asyncio.Future[Answer]] = set()
        num_begun = num_failed = 0
        began_at = 0.0
        try:
            while True:
                if not running or (num_begun < self._max_tries and self._is_late(began_at)):
                    running.add(asyncio.ensure_future(self._try(question, num_begun, tried)))
                    num_begun += 1
                    began_at = time.monotonic()
                for answer in await self._next(running):
                    num_failed += 1
                    failure = answer.failure
                    if failure is None or failure.is_final or num_failed >= self._max_tries:
                        return answer
        finally:
            await cancel(running)

    async def _next(self, running: "set[asyncio.Future[Answer]]") -> list[Answer]:
        """Wait for tries to end, or for a moment where one may be late; takes out those ended."""
        if self._is_over:
            done, _ = await asyncio.wait(running, timeout=_LOOK_S)
        else:
            over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleeping.add(over)
            awaited: set[asyncio.Future[Any]] = {*running, over}
            try:
                done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._sleeping.discard(over)
        ended = [one for one in running if one in done]
        running.difference_update(ended)
        return [one.result() for one in ended]

    def _is_late(self, began_at: float) -> bool:
        is_last = self._is_over and self._pool.is_idle
        return is_last and time.monotonic() - began_at > self._pool.late_s

    async def _try(self, question: Question, number: int, tried: set[Server]) -> Answer:
        """Ask until a server gives an answer, or a failure that is the question's own."""
        body = llm_api.request(self._model, question.text, question.seed + number)
        send = functools.partial(self._request, body, tried)
        num_refused = 0
        while True:
            server, ticket = await self._pool.acquire(tried)
            server, text, failure = await self._hedges.ask(server, ticket, send)
            if failure is not None and not await self._is_own(failure, server):
                tried.discard(server)
                num_refused += failure.kind != "connect"
                if num_refused < _MAX_REFUSED:
                    continue
            return Answer(question.index, text, failure, number + 1, server.url)

    async def _request(self, body: bytes, tried: set[Server], server: Server) -> Outcome:
        """Send one request, and conclude from what comes what is to be thought of the server."""
        tried.add(server)
        sent_at = time.monotonic()
        text = failure = None
        try:
            text = self._judge(llm_api.answer_text(self._model, await self._send(server, body)))
            server.answered(time.monotonic() - sent_at)
        except LlmError as error:
            failure = error
            self._note(failure, server, sent_at)
        return Outcome(server, text, failure)

    def _note(self, failure: LlmError, server: Server, sent_at: float) -> None:
        """Conclude from a failure what is to be thought of its server."""
        if failure.blame is Blame.SERVER:
            self._pool.leave_alone(server, failure)
        elif failure.blame is Blame.UNKNOWN:
            # Others that were answered meanwhile tell nothing of a server that now hangs up.
            if server.answered_at <= sent_at or failure.kind == DISCONNECTED:
                self._pool.doubt(server, failure)
        else:
            server.answered(time.monotonic() - sent_at)

    async def _is_own(self, failure: LlmError, server: Server) -> bool:
        """Tell whether a failure is the question's own rather than its server's."""
        if failure.blame is Blame.UNKNOWN:
            return await self._pool.is_well(server)
        return failure.blame is not Blame.SERVER
