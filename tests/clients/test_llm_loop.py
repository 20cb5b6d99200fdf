"""What becomes of a Ctrl-C while an event loop runs."""

import asyncio
import os
import signal

import pytest

from hpcpipe.clients import llm_loop


async def interrupted(*, waits: bool) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    if waits:
        await asyncio.sleep(60)
    return "done"


@pytest.mark.parametrize("waits", [True, False])
def test_a_ctrl_c_is_never_lost_even_in_the_last_step(waits):
    with pytest.raises(KeyboardInterrupt):
        llm_loop.run(interrupted(waits=waits))


def test_a_coroutine_that_was_cancelled_otherwise_says_so():
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        llm_loop.run(cancelled())
