"""Waiting for servers at the beginning: they may have to start, and to load their model."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from hpcpipe.clients.llm_cancel import cancel
from hpcpipe.clients.llm_failure import WRONG_SETTINGS, LlmError
from hpcpipe.clients.llm_server import Server
from hpcpipe.errors import SetupError

_LOOK_S = 0.2
_TELL_S = 5.0
"""When to say that no server answers yet: nobody should watch a silent command for minutes."""

_log = logging.getLogger(__name__)


async def wait_until_ready(
    servers: Sequence[Server],
    probe: Callable[[Server, float], Awaitable[LlmError | None]],
    patience_s: float,
    grace_s: float,
    look: Callable[[Server], None],
) -> None:
    """Wait until a server answers and all others have been asked.

    Args:
        servers: which; those that do not answer are marked as left alone.
        probe: asks one of them, for so many seconds at most; gives what is wrong.
        patience_s: for the first that answers.
        grace_s: for the others, from then on.
        look: is called for each server that does not answer, several times a second; what it
            raises ends the waiting.

    Returns:
        Nothing; where no server answers, all are left alone.

    Raises:
        SetupError: a server refuses the simplest request: key, model or options are wrong.
    """
    tell_at = time.monotonic() + _TELL_S
    until = time.monotonic() + patience_s
    ready: set[Server] = set()

    async def ask(server: Server) -> None:
        while (left_s := until - time.monotonic()) > 0:
            error = await probe(server, left_s)
            if error is None:
                server.is_well_again()
                ready.add(server)
                return
            if error.kind in WRONG_SETTINGS:
                raise SetupError(f"the LLM server {server.url} (stage.servers) says: {error}")
            if error.kind != "timeout" or not server.trouble:  # what it said tells more
                server.leave_alone(error.text, 0.0)
            look(server)
            await asyncio.sleep(_LOOK_S)

    running = {asyncio.create_task(ask(server)) for server in servers}
    try:
        while running and time.monotonic() < until:
            if ready:
                until = min(until, time.monotonic() + grace_s)
                if all(one.trouble or one in ready for one in servers):
                    break
            done, running = await asyncio.wait(
                running, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            if not ready and time.monotonic() >= tell_at:
                tell_at = math.inf
                _tell(servers, patience_s)
    finally:
        await cancel(running)
    for server in [one for one in servers if not (one.trouble or one in ready)]:
        server.leave_alone("it has not answered yet", 0.0)


def _tell(servers: Sequence[Server], patience_s: float) -> None:
    """Say that none has answered yet, and why."""
    reasons = (f"{one.url}: {one.trouble or 'no answer yet'}" for one in servers)
    waits = f"waiting up to {patience_s:.0f} s for an LLM server"
    _log.warning("%s: %s", waits, "; ".join(reasons))
