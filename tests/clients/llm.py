"""Options with short patience, and a short way to ask."""

import json
import socket

from hpcpipe.clients.llm_client import LlmClient
from hpcpipe.clients.llm_options import ChatModel, ServerOptions, StartOptions
from hpcpipe.clients.llm_records import Question
from tests.servers.raw_http import reply

CHAT = "/v1/chat/completions"
PROBE = b"Say OK."


def model(**changes):
    values = {"api": "openai", "name": "m", "system": None, "options": {}}
    return ChatModel(**{**values, **changes})


def options(**changes):
    values = {
        "urls": ["http://127.0.0.1:9"],
        "start": StartOptions(command=None, num=1),
        "api_key_env": None,
        "max_in_flight": 2,
        "timeout_s": 30.0,
        "ready_s": 60.0,
        "max_answer_bytes": 100_000,
    }
    return ServerOptions(**{**values, **changes})


def client(urls, chat=None, attempts=3, **changes):
    return LlmClient(chat or model(), options(**changes), urls, attempts)


def ask(asker, texts, judge=lambda text: text, should_end=lambda: False):
    """Ask; gives the answers by text, and whether all were answered."""
    answers = {}
    questions = [Question(index, text, 100 * index) for index, text in enumerate(texts)]
    is_done = asker.ask(
        questions, judge, lambda one: answers.__setitem__(texts[one.index], one), should_end
    )
    return answers, is_done


def said(text, finish="stop"):
    """An answer in OpenAI's shape."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    body = {"choices": [{**choice, "finish_reason": finish}]}
    return reply(body=json.dumps(body).encode())


def hang_up(connection, asked):
    """An answer that breaks off in its middle."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices": [')
    connection.shutdown(socket.SHUT_RDWR)
