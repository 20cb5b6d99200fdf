"""Ask a language model many questions, at several servers at once: what users of this see."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from hpcpipe.clients import llm_api, llm_loop
from hpcpipe.clients.llm_cancel import cancel
from hpcpipe.clients.llm_exchange import exchange, session
from hpcpipe.clients.llm_failure import LlmError
from hpcpipe.clients.llm_options import ChatModel, ServerOptions, base_url
from hpcpipe.clients.llm_pool import Pool
from hpcpipe.clients.llm_ready import wait_until_ready
from hpcpipe.clients.llm_records import Answer, Judge, Question
from hpcpipe.clients.llm_server import Server
from hpcpipe.clients.llm_tries import Tries
from hpcpipe.errors import SetupError, missing_extra

if TYPE_CHECKING:
    import aiohttp

_LOOK_S = 0.2
_PROBE_PATIENCE = 6
"""Times `timeout_s`: a server that has to load its model first is slow to answer a probe."""
_AHEAD = 4
"""Times what the servers take: questions that are taken from the caller and not answered."""


class LlmClient:
    """Asks servers; remembers from call to call which of them are well, and how fast.

    A server that fails is left alone and probed with the simplest question until it answers. A
    failure is a question's own only where its server answers others.

    Attributes:
        servers: all of them.
    """

    def __init__(
        self, model: ChatModel, options: ServerOptions, urls: Iterable[str], max_tries: int
    ) -> None:
        """Connect to nothing yet.

        Args:
            model: what every request says.
            options: limits and patience.
            urls: the servers.
            max_tries: of one question.

        Raises:
            SetupError: aiohttp is not installed, or the key's environment variable is not set, or
                holds no key.
        """
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise missing_extra("aiohttp", "llm", "asking language models") from error
        self._model = model
        self._options = options
        self._max_tries = max_tries
        self._key = _key(model, options)
        named = dict.fromkeys(map(base_url, urls))
        self.servers = [Server(url, options.max_in_flight) for url in named]
        self._pool = Pool(self.servers, self._probe_in_time, options.ready_s)
        self._session: aiohttp.ClientSession | None = None

    def wait_until_ready(self, look: Callable[[Server], None]) -> None:
        """Wait until servers answer, which may have to load their model first.

        Args:
            look: is called for each server that does not answer, several times a second; what it
                raises ends the waiting.

        Returns:
            Nothing: at least one server answers, and the others were asked.

        Raises:
            SetupError: a server answers that the key, the model or an option is wrong; or none
                answers in time.
        """
        llm_loop.run(self._wait_until_ready(look))

    async def _wait_until_ready(self, look: Callable[[Server], None]) -> None:
        async with session(self._key) as self._session:
            patience = (self._options.ready_s, self._options.timeout_s)
            await wait_until_ready(self.servers, self._probe, *patience, look)
        if all(server.trouble for server in self.servers):
            raise SetupError(
                f"{self._pool.outage()}; start one, or name those that run: "
                "stage.servers.urls='[http://HOST:PORT]'"
            )

    def ask(
        self,
        questions: Iterable[Question],
        judge: Judge,
        take: Callable[[Answer], None],
        should_end: Callable[[], bool],
    ) -> bool:
        """Ask questions; runs until all are answered.

        Args:
            questions: taken as they are needed.
            judge: judges what the model says.
            take: is called with each answer as it comes, in no particular order, in this thread.
            should_end: asked several times a second, also while nothing comes; what it raises ends
                the asking as well.

        Returns:
            False where it ended before all was answered.

        Raises:
            OutageError: no server answers.
            Exception: what `questions`, `take` or `should_end` raised.
        """
        return llm_loop.run(self._ask(iter(questions), judge, take, should_end))

    async def _ask(
        self,
        questions: Iterator[Question],
        judge: Judge,
        take: Callable[[Answer], None],
        should_end: Callable[[], bool],
    ) -> bool:
        tries = Tries(self._model, self._pool, self._send, judge, self._max_tries)

        async def work() -> None:
            for question in questions:
                take(await tries.answer(question))
            tries.no_more()

        num = _AHEAD * sum(server.max_in_flight for server in self.servers)
        async with session(self._key) as self._session:
            self._pool.begin()
            running = {asyncio.create_task(work()) for _ in range(num)}
            tasks = list(running)
            try:
                while running:
                    done, running = await asyncio.wait(
                        running, timeout=_LOOK_S, return_when=asyncio.FIRST_EXCEPTION
                    )
                    for task in done:
                        task.result()
                    if running and should_end():
                        return False
                    self._pool.look()
                    tries.look()
            finally:
                await cancel(tasks)
                await self._pool.close()
        return True

    async def _send(self, server: Server, body: bytes) -> bytes:
        return await self._exchange(server, body, self._options.timeout_s)

    async def _exchange(self, server: Server, body: bytes, timeout_s: float) -> bytes:
        assert self._session is not None
        url = server.url + llm_api.PATHS[self._model.api]
        return await exchange(self._session, url, body, timeout_s, self._options.max_answer_bytes)

    async def _probe_in_time(self, server: Server) -> LlmError | None:
        error = await self._probe(server, _PROBE_PATIENCE * self._options.timeout_s)
        if error is not None and error.kind == "timeout":
            said = (
                f"{error.text}, {_PROBE_PATIENCE} times stage.servers.timeout_s; is that too short?"
            )
            return LlmError(error.kind, said, error.blame)
        return error

    async def _probe(self, server: Server, timeout_s: float) -> LlmError | None:
        try:
            content = await self._exchange(server, llm_api.probe(self._model), timeout_s)
            llm_api.parse(content)
        except LlmError as error:
            return error
        return None


def _key(model: ChatModel, options: ServerOptions) -> str | None:
    name = options.api_key_env or ("OPENAI_API_KEY" if model.api == "openai" else "")
    key = os.environ.get(name) or None
    if key is None and options.api_key_env is not None:
        raise SetupError(
            f"the environment variable {name} (stage.servers.api_key_env) is not set here: export "
            "it before the launch"
        )
    if key is not None and not key.isprintable():
        raise SetupError(
            f"the environment variable {name} has a line break or the like in it, as no key has: "
            "export the key alone"
        )
    return key
