"""What a download says of itself to people: why many URLs fail, which hosts are slow."""

import logging
import time
from collections import Counter

from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.stage import ShardContext

logger = logging.getLogger(__name__)

LOOK_AFTER_S = 20.0
EVERY_S = 5.0
MIN_URLS = 50
MAX_FAILED = 1 / 3
NUM_HOSTS, SLOW_S = 3, 1.0

_ADVICE = {
    "dns": "names cannot be looked up: fewer workers at once, or a caching resolver on each node",
    "unknown_host": "names do not exist: is the list very old, or the node without a resolver?",
    "connect": "no connections: does this node reach the internet, or need a proxy (https_proxy)?",
    "tls": "TLS handshakes fail: does something between this node and the internet intercept them?",
    "certificate": "certificates are not trusted: give stage.fetch.ca_file, if a proxy makes them",
    "refused_address": "addresses are private: stage.fetch.allow_private_hosts=true allows them",
    "wrong_digest": "checksums are not the list's: is stage.digest the kind that it has?",
    "http_403": "servers forbid it: are there too many requests from this address?",
    "http_429": "servers ask for a slower pace: lower stage.fetch.host_rate_per_s or max_per_host",
    "timeout": "time is over before files are there: raise stage.fetch.deadline_s, or lower "
    "stage.fetch.max_transfers to what the line carries",
}


class Watch:
    """Looks at a worker's URLs: warns once, early, where many fail, and remarks on slow hosts."""

    def __init__(self, fetcher: Fetcher) -> None:
        """Begin now.

        Args:
            fetcher: knows the hosts.

        Raises:
            Nothing.
        """
        self._fetcher = fetcher
        self._began = self._remarked_at = time.monotonic()
        self._num_urls = 0
        self._failures: Counter[str] = Counter()
        self._warning: str | None = None

    def add(self, failure: str | None, ctx: ShardContext) -> None:
        """Count a URL, and say what is to be said.

        Args:
            failure: class of its failure; None where it has none.
            ctx: shows remarks.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        now = time.monotonic()
        if self._warning is None:
            self._num_urls += 1
            if failure is not None:
                self._failures[failure] += 1
            if now - self._began >= LOOK_AFTER_S:
                self.look()
        if now - self._remarked_at >= EVERY_S:
            self._remarked_at = now
            ctx.remark(self._warning or self._slowest())

    def look(self) -> None:
        """Look at what failed so far, unless that was done or there are too few URLs yet.

        Returns:
            Nothing; a warning goes to the log, and stands in the remarks from now on.

        Raises:
            Nothing.
        """
        if self._warning is not None or self._num_urls < MIN_URLS:
            return
        self._warning = ""
        num_failed = self._failures.total()
        if num_failed > MAX_FAILED * self._num_urls:
            ((name, number),) = self._failures.most_common(1)
            advice = f": {_ADVICE[name]}" if name in _ADVICE else ""
            share = f"{num_failed / self._num_urls:.0%} of the first {self._num_urls:,} URLs"
            self._warning = f"warning: {share} failed, most by {name} ({number:,}){advice}"
            logger.warning("%s", self._warning.removeprefix("warning: "))

    def _slowest(self) -> str:
        hosts = self._fetcher.slowest_hosts(NUM_HOSTS)
        slow = [host for host in hosts if host.mean_s >= SLOW_S]
        shown = ", ".join(f"{host.host} {host.mean_s:.1f} s" for host in slow)
        return f"slowest hosts: {shown}" if shown else ""
