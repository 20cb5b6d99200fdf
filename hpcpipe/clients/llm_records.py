"""What goes into an `LlmClient`, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

from hpcpipe.clients.llm_failure import LlmError


@dataclass(frozen=True)
class Question:
    """One thing to ask.

    Attributes:
        index: the caller's number for it.
        text: the user's message.
        seed: for the model's sampling, 0 to 2**30 - 1; each further try has the next one.
    """

    index: int
    text: str
    seed: int


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        index: the question's.
        text: the answer as the judge left it; None where there is none.
        failure: why there is none, else None.
        num_tries: requests that count as its own.
        server: URL of the server that was asked last.
    """

    index: int
    text: str | None
    failure: LlmError | None
    num_tries: int
    server: str


Judge = Callable[[str], str]
"""Takes what the model said, gives what is used of it; raises LlmError for what is refused."""
