"""Ollama's API over a real language model: what ``ollama serve`` would answer, as far as needed.

``python -m tests.servers.llm_ollama PORT [MODEL...]``; it knows the models that are named, all of
which are `llm_llama`'s.

Source: Ollama's API documentation and the types of its Python client.
"""

import datetime
import json
import sys
import time

import aiohttp
from aiohttp import web

from tests.servers import llm_llama
from tests.servers.llm_process import answers
from tests.servers.ports import free_ports
from tests.waiting import wait_until

OPTIONS = {"num_predict": "max_tokens", "temperature": "temperature", "seed": "seed"}
KNOWN = {*OPTIONS, "num_thread", "num_ctx", "top_p", "top_k"}


class Ollama:
    """The front.

    Attributes:
        models: names that it knows.
        backend: URL of the server behind it.
    """

    def __init__(self, models: list[str], backend: str) -> None:
        self.models = models
        self.backend = backend

    async def tags(self, request: web.Request) -> web.Response:
        models = [{"name": name, "model": name, **self._facts()} for name in self.models]
        return web.json_response({"models": models})

    async def show(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("model", "")
        if name not in self.models:
            return _not_found(name)
        return web.json_response({"capabilities": ["completion"], **self._facts()})

    async def chat(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        name = asked.get("model", "")
        if name not in self.models:
            return _not_found(name)
        options = asked.get("options", {})
        unknown = set(options) - KNOWN
        if unknown or asked.get("stream", True):
            return web.json_response({"error": f"not done here: {unknown or 'stream'}"}, status=400)
        body = {OPTIONS[key]: value for key, value in options.items() if key in OPTIONS}
        began = time.monotonic_ns()
        url = f"{self.backend}/v1/chat/completions"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={**body, "messages": asked["messages"]}) as response,
        ):
            said = await response.json()
            if response.status != 200:
                text = said["error"]["message"]
                return web.json_response({"error": text}, status=response.status)
        return web.json_response(_answer(name, said, time.monotonic_ns() - began))

    def _facts(self) -> dict[str, object]:
        size = llm_llama.model_path().stat().st_size
        details = {"format": "gguf", "family": "llama", "parameter_size": "135M"}
        return {"modified_at": _now(), "size": size, "details": details}


def _answer(name: str, said: dict, nanoseconds: int) -> dict:
    (choice,) = said["choices"]
    return {
        "model": name,
        "created_at": _now(),
        "message": {"role": "assistant", "content": choice["message"]["content"]},
        "done": True,
        "done_reason": choice["finish_reason"],
        "total_duration": nanoseconds,
        "prompt_eval_count": said["usage"]["prompt_tokens"],
        "eval_count": said["usage"]["completion_tokens"],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def _not_found(name: str) -> web.Response:
    return web.json_response({"error": f"model '{name}' not found"}, status=404)


def application(models: list[str], backend: str) -> web.Application:
    ollama = Ollama(models, backend)
    app = web.Application()
    app.router.add_get("/api/tags", ollama.tags)
    app.router.add_post("/api/show", ollama.show)
    app.router.add_post("/api/chat", ollama.chat)
    return app


if __name__ == "__main__":
    (behind,) = free_ports(1)
    server = llm_llama.serve(behind)
    url = f"http://127.0.0.1:{behind}"
    wait_until(lambda: answers(url))
    names = sys.argv[2:] or [llm_llama.MODEL, "tulu3:fairclip"]
    web.run_app(
        application(names, url),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
    )
