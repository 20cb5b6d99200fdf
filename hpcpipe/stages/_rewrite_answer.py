"""What is used of what a model says."""

from typing import Literal

from hpcpipe.clients.llm_failure import Blame, LlmError
from hpcpipe.clients.llm_records import Judge

_QUOTES = ('""', "''", "“”", "\u2018\u2019", "«»", "„“", "``")


def judge(form: Literal["one_line", "text"]) -> Judge:
    """Choose how answers are judged.

    Args:
        form: ``one_line`` or ``text``.

    Returns:
        Takes what the model said, gives what is used of it; raises LlmError for what is refused.

    Raises:
        Nothing.
    """
    return _one_line if form == "one_line" else _text


def _text(said: str) -> str:
    text = said.strip()
    if not text:
        raise LlmError("empty", "the answer is empty", Blame.ANSWER, said)
    return text


def _one_line(said: str) -> str:
    lines = [line for line in map(str.strip, said.splitlines()) if line]
    if len(lines) > 1:
        text = f"the answer has {len(lines)} lines instead of one"
        raise LlmError("many_lines", text, Blame.ANSWER, said)
    line = lines[0] if lines else ""
    while len(line) > 1 and line[0] + line[-1] in _QUOTES:
        line = line[1:-1].strip()
    if not line.strip("\"'"):
        raise LlmError("empty", "the answer is empty", Blame.ANSWER, said)
    return line
