"""A word of warning in the first minute of a download that goes wrong."""

import logging
import time
from collections import Counter

logger = logging.getLogger(__name__)

LOOK_AFTER_S = 20.0
MIN_URLS = 50
MAX_FAILED = 1 / 3

_ADVICE = {
    "dns": "names cannot be looked up: fewer workers at once, or a caching resolver on each node",
    "unknown_host": "names do not exist: is the list very old, or the node without a resolver?",
    "connect": "no connections: does this node reach the internet, or need a proxy (https_proxy)?",
    "tls": "TLS handshakes fail: does something between this node and the internet intercept them?",
    "certificate": "certificates are not trusted: give stage.fetch.ca_file, if a proxy makes them",
    "http_403": "servers forbid it: are there too many requests from this address?",
    "http_429": "servers ask for a slower pace: lower stage.fetch.host_rate_per_s or max_per_host",
    "timeout": "time is over before files are there: raise stage.fetch.deadline_s, or lower "
    "stage.fetch.max_transfers to what the line carries",
}


class Watch:
    """Looks at the first URLs of a worker and says once, in its log, why many fail."""

    def __init__(self) -> None:
        """Begin now. Raises nothing."""
        self._began = time.monotonic()
        self._num_urls = 0
        self._failures: Counter[str] = Counter()
        self._is_over = False

    def add(self, failure: str | None) -> None:
        """Count a URL.

        Args:
            failure: class of its failure; None where it has none.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        if self._is_over:
            return
        self._num_urls += 1
        if failure is not None:
            self._failures[failure] += 1
        if self._num_urls >= MIN_URLS and time.monotonic() - self._began >= LOOK_AFTER_S:
            self._is_over = True
            self._say()

    def _say(self) -> None:
        num_failed = self._failures.total()
        if num_failed <= MAX_FAILED * self._num_urls:
            return
        ((name, number),) = self._failures.most_common(1)
        logger.warning(
            "%d of the first %d URLs failed, most by %s (%d)%s",
            *(num_failed, self._num_urls, name, number),
            f": {_ADVICE[name]}" if name in _ADVICE else "",
        )
