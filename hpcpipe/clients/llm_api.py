"""The two ways to ask a language model: Ollama's ``/api/chat``, and OpenAI's.

Builds requests and reads answers; sends nothing.

Source: Ollama's API documentation, "Generate a chat completion"; OpenAI's API reference, "Create
chat completion".
"""

import json
from typing import Any

from hpcpipe.clients.llm_failure import Blame, LlmError
from hpcpipe.clients.llm_options import ChatModel
from hpcpipe.errors import ConfigError

PATHS = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}
_OLLAMAS_OWN = frozenset({"num_thread"})
"""Options that say how Ollama computes, not what; no other server is sent them."""
_OURS = {"ollama": ("seed",), "openai": ("model", "messages", "stream", "seed", "n")}
_MAX_CUT_CHARS = 500


def check_options(model: ChatModel) -> None:
    """Refuse options that are set elsewhere.

    Args:
        model: with its options.

    Raises:
        ConfigError: it has some.
    """
    ours = sorted(set(model.options) & set(_OURS[model.api]))
    if ours:
        raise ConfigError(
            f"stage.options.{ours[0]} is set by stage.{'seed' if ours[0] == 'seed' else 'model'} "
            "or not at all: leave it out"
        )


def request(model: ChatModel, text: str, seed: int) -> bytes:
    """Build the body of a request.

    Args:
        model: what is the same in all.
        text: the user's message.
        seed: of the model's sampling.

    Returns:
        JSON, ASCII only.

    Raises:
        Nothing.
    """
    return json.dumps(_fields(model, text, seed)).encode()


def probe(model: ChatModel) -> bytes:
    """Build the smallest request that shows whether a server answers. Raises nothing."""
    fields = _fields(model, "Say OK.", 0)
    if model.api == "ollama":
        fields["options"]["num_predict"] = 1
    else:
        named = "max_completion_tokens"
        fields[named if named in model.options else "max_tokens"] = 1
    return json.dumps(fields).encode()


def _fields(model: ChatModel, text: str, seed: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": sound(text)}]
    if model.system is not None:
        messages.insert(0, {"role": "system", "content": model.system})
    fields: dict[str, Any] = {"model": model.name, "messages": messages, "stream": False}
    if model.api == "ollama":
        return {**fields, "options": {**model.options, "seed": seed}}
    passed = {name: model.options[name] for name in model.options if name not in _OLLAMAS_OWN}
    return {**passed, **fields, "seed": seed}


def parse(content: bytes) -> dict[str, Any]:
    """Read the body of an answer.

    Args:
        content: what came.

    Returns:
        The JSON object.

    Raises:
        LlmError: it is something else.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise malformed(f"not JSON: {error}", content) from error
    if not isinstance(found, dict):
        raise malformed(f"not an object but {type(found).__name__}", content)
    return found


def malformed(what: str, content: bytes) -> LlmError:
    """Build the error for an answer of another shape. Raises nothing."""
    shown = content[:_MAX_CUT_CHARS].decode(errors="replace")
    return LlmError("malformed", f"the answer is {what[:200]}", Blame.UNKNOWN, shown)


def answer_text(model: ChatModel, content: bytes) -> str:
    """Take what the model said out of an answer.

    Args:
        model: says which API it is.
        content: the answer's body.

    Returns:
        The text, as the model gave it; it may be empty.

    Raises:
        LlmError: the answer has another shape, or the model was cut off or refused.
    """
    found = parse(content)
    try:
        if model.api == "ollama":
            message, reason = found["message"], found.get("done_reason")
        else:
            choice = found["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
        text = message.get("content")
        refusal = message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise malformed(f"of another shape ({type(error).__name__}: {error})", content) from error
    if not isinstance(text, str | None):
        raise malformed(f"of another shape (content is {type(text).__name__})", content)
    text = sound(text or "")
    if reason == "length":
        raise LlmError("truncated", "cut off at the limit of tokens", Blame.ANSWER, text)
    if reason == "content_filter":
        raise LlmError("content_filter", "held back by the content filter", Blame.REQUEST, text)
    if refusal:
        raise LlmError("refused", "the model refuses", Blame.REQUEST, sound(str(refusal)))
    return text


def error_text(content: bytes) -> str:
    """Find what a server says about its failure, on one line of 300 characters at most.

    Args:
        content: the answer's body.

    Returns:
        The message; "" where there is none.

    Raises:
        Nothing.
    """
    said: Any = content.decode(errors="replace")
    try:
        said = json.loads(content)
        said = said["error"] if "error" in said else said["detail"]  # FastAPI's
        said = said["message"]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        pass
    return " ".join(sound(str(said)).split())[:300]


def sound(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 can carry. Raises nothing."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
