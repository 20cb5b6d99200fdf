"""What rewriting says of itself to people: how fast, which servers are slow or left alone."""

import logging
import time
from collections import Counter

from hpcpipe.clients.llm_client import LlmClient
from hpcpipe.stage import ShardContext

logger = logging.getLogger(__name__)

EVERY_S = 5.0
MIN_ANSWERS = 50
MAX_FAILED = 1 / 3

_ADVICE = {
    "timeout": "raise stage.servers.timeout_s, or lower stage.servers.max_in_flight",
    "many_lines": "ask for one line in stage.system or stage.template, or give stage.answer=text",
    "truncated": "raise the limit of tokens in stage.options, or ask for less in stage.template",
    "empty": "does stage.template suit the model?",
    "http_400": "are stage.options right, and captions shorter than the model's context?",
}


class Watch:
    """Looks at a worker's answers: warns once where many fail, and remarks on servers."""

    def __init__(self, client: LlmClient) -> None:
        """Begin now.

        Args:
            client: knows the servers.

        Raises:
            Nothing.
        """
        self._client = client
        self._remarked_at = time.monotonic()
        self._num_new = 0
        self._num_answers = 0
        self._failures: Counter[str] = Counter()
        self._warning: str | None = None

    def add(self, failure: str | None) -> None:
        """Count an answer.

        Args:
            failure: class of its failure; None where it has none.

        Returns:
            Nothing; a warning goes to the log, and stands in the remarks from now on.

        Raises:
            Nothing.
        """
        self._num_new += 1
        self._num_answers += 1
        if failure is not None:
            self._failures[failure] += 1
        num_failed = self._failures.total()
        is_early = self._num_answers < MIN_ANSWERS
        if self._warning is None and not is_early and num_failed > MAX_FAILED * self._num_answers:
            ((name, number),) = self._failures.most_common(1)
            advice = f": {_ADVICE[name]}" if name in _ADVICE else ""
            share = f"{num_failed / self._num_answers:.0%} of {self._num_answers:,} captions"
            self._warning = f"warning: {share} failed, most by {name} ({number:,}){advice}"
            logger.warning("%s", self._warning.removeprefix("warning: "))

    def remark(self, ctx: ShardContext) -> None:
        """Say now and then what is to be said.

        Args:
            ctx: shows it.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        seconds = time.monotonic() - self._remarked_at
        if seconds >= EVERY_S:
            ctx.remark(self._warning or self._words(self._num_new / seconds))
            self._remarked_at += seconds
            self._num_new = 0

    def _words(self, answers_per_s: float) -> str:
        servers = self._client.servers
        alone = [f"{one.url} is left alone ({one.trouble[:60]})" for one in servers if one.trouble]
        slowest = max(servers, key=lambda one: one.mean_s)
        slow = f"slowest {slowest.url} {slowest.mean_s:.1f} s" if len(servers) > 1 else ""
        return "; ".join(filter(None, [f"{answers_per_s:.1f} answers/s", *alone, slow]))
