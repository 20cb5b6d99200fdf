"""A language model's server without a model: so many slots, so many seconds an answer.

``python -m tests.servers.llm_simulated PORT [--slots 4] [--seconds 0.1]``; speaks both APIs. What a
caption says decides what is answered: one with ``HANG`` is never answered and takes no slot, one
with ``ENDLESS`` keeps its slot until the client hangs up. Others are answered in one line, with the
question in it.
"""

import argparse
import asyncio

from aiohttp import web


class Simulated:
    """The server.

    Attributes:
        num_answered: so far; ``GET /count`` shows it.
    """

    def __init__(self, num_slots: int, seconds: float) -> None:
        self._slots = asyncio.Semaphore(num_slots)
        self._seconds = seconds
        self.num_answered = 0

    async def chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        text = asked["messages"][-1]["content"]
        if "HANG" in text:
            await asyncio.sleep(3600)
        async with self._slots:
            await asyncio.sleep(3600 if "ENDLESS" in text else self._seconds)
        self.num_answered += 1
        message = {"role": "assistant", "content": f"rewritten: {' '.join(text.split())}"}
        if request.path == "/api/chat":
            answer = {"message": message, "done": True, "done_reason": "stop"}
        else:
            answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return web.json_response({"model": asked["model"], **answer})

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response({"num_answered": self.num_answered})


def application(num_slots: int, seconds: float) -> web.Application:
    server = Simulated(num_slots, seconds)
    app = web.Application()
    app.router.add_post("/api/chat", server.chat)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/count", server.count)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.1)
    args = parser.parse_args()
    web.run_app(
        application(args.slots, args.seconds),
        host="127.0.0.1", port=args.port, handler_cancellation=True, print=None,
        access_log=None,
    )  # fmt: skip
