"""Why a request got no answer that can be used, and whose fault that is."""

from enum import Enum, auto


class Blame(Enum):
    """Whose fault a failure is."""

    REQUEST = auto()
    """The request's: it would fail anywhere."""
    ANSWER = auto()
    """Of this answer; another one may be good."""
    SERVER = auto()
    """The server's: it does not tell against the request."""
    UNKNOWN = auto()
    """The request's, if the server answers others; else the server's."""


class LlmError(Exception):
    """One request without an answer that can be used.

    Attributes:
        kind: its class, as counters show it: ``timeout``, ``http_500``, ``many_lines``.
        text: what is wrong, in words.
        blame: whose fault it is.
        answer: what came instead; "" where nothing did.
        pause_s: how long the server asks to be left alone; None where it does not.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        blame: Blame,
        answer: str = "",
        pause_s: float | None = None,
    ) -> None:
        """Raises nothing.

        Args:
            kind: its class.
            text: what is wrong.
            blame: whose fault it is.
            answer: what came instead.
            pause_s: how long the server asks to be left alone.
        """
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.blame = blame
        self.answer = answer
        self.pause_s = pause_s

    def __str__(self) -> str:
        return self.text

    @property
    def is_final(self) -> bool:
        """True where trying again, there or elsewhere, is of no use. Raises nothing."""
        return self.blame is Blame.REQUEST


DISCONNECTED = "disconnected"
"""Class of what broke off."""

_OF_THE_SERVER = frozenset({401, 402, 403, 404, 405, 407, 425, 429, 503})
"""Wrong key, wrong model, wrong path, too busy: other requests would fare no better."""


def of_status(status: int, text: str, pause_s: float | None) -> LlmError:
    """Build the error for an HTTP status that is no success.

    Args:
        status: the status.
        text: what the server said.
        pause_s: its ``Retry-After``.

    Returns:
        The error.

    Raises:
        Nothing.
    """
    said = f"HTTP {status}" + (f": {text}" if text else "")
    if 300 <= status < 400:
        return LlmError("redirect", f"{said}; give the server's final address", Blame.SERVER)
    if status in _OF_THE_SERVER:
        return LlmError(f"http_{status}", said, Blame.SERVER, pause_s=pause_s)
    if 400 <= status < 500 and status != 408:
        return LlmError(f"http_{status}", said, Blame.REQUEST)
    return LlmError(f"http_{status}", said, Blame.UNKNOWN, pause_s=pause_s)


_FINAL = frozenset({"content_filter", "refused"})


def may_pass(kind: str) -> bool:
    """Tell whether a question that failed may be answered another time.

    Args:
        kind: class of the failure.

    Returns:
        False where the same question would fail anywhere.

    Raises:
        Nothing.
    """
    status = kind.removeprefix("http_")
    if status.isdecimal():
        return not of_status(int(status), "", None).is_final
    return kind not in _FINAL


WRONG_SETTINGS = frozenset(
    {"redirect", "http_400", "http_401", "http_402", "http_403", "http_404", "http_405", "http_422"}
)
"""Classes that mean wrong settings where they answer the simplest request."""
