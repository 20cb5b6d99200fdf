"""Which language model answers, and how its servers are asked. The values live in YAML."""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from hpcpipe.errors import ConfigError

LlmApi = Literal["ollama", "openai"]


@dataclass(frozen=True, kw_only=True)
class ChatModel:
    """What every request says, whatever is asked.

    Attributes:
        api: ``ollama`` (``/api/chat``) or ``openai`` (``/v1/chat/completions``).
        name: the model, as the servers call it.
        system: system prompt; None for the model's own.
        options: passed on: Ollama's ``options``, or further fields of an OpenAI request.
    """

    api: LlmApi
    name: str
    system: str | None
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """Servers that a worker starts for itself.

    Attributes:
        command: starts one; ``{port}`` and ``{gpu}`` stand for its port and for one of the
            worker's GPUs. None where the servers run already.
        num: how many.
    """

    command: str | None
    num: int

    def __post_init__(self) -> None:
        """Check the values. Raises ConfigError."""
        if self.num < 1:
            raise ConfigError(f"num must be 1 or more, not {self.num}")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The servers, and with how much patience they are asked.

    Attributes:
        urls: of servers that run already; not asked where servers are started.
        start: servers to be started.
        api_key_env: environment variable with the key; None for ``OPENAI_API_KEY``, where that
            is set and the API is ``openai``.
        max_in_flight: requests at one server at once.
        timeout_s: for one answer, whole.
        ready_s: how long to wait until a server answers, at the beginning and where none does.
        max_answer_bytes: longer answers are given up as soon as that shows.
    """

    urls: list[str]
    start: StartOptions
    api_key_env: str | None
    max_in_flight: int
    timeout_s: float
    ready_s: float
    max_answer_bytes: int

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: one cannot be used.
        """
        for name in ("max_in_flight", "timeout_s", "ready_s", "max_answer_bytes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.urls and self.start.command is None:
            raise ConfigError("urls is empty: name servers, or give start.command beside it")
        for url in self.urls:
            _check_url(url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigError(
            f"urls has {url!r}, which is no URL of a server, such as http://127.0.0.1:11434"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            "urls has a URL with a user name, a query or a fragment; keys belong in an environment "
            "variable (api_key_env)"
        )


def base_url(url: str) -> str:
    """Bring a server's URL into the form that paths are put behind.

    Args:
        url: as the user gave it; the ``/v1`` of OpenAI's clients is taken off.

    Returns:
        The URL, without a slash at its end.

    Raises:
        Nothing.
    """
    return url.rstrip("/").removesuffix("/v1")
