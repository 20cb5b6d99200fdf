"""What a host allows for all its files: robots.txt and the TDM file, asked for once and kept.

Sources: RFC 9309 (Robots Exclusion Protocol); W3C community group report "TDM Reservation
Protocol". Headers of single answers are in `opt_out`. A ``tdm-reservation: 0`` header would
overrule the TDM file; it is not waited for, so what the file reserves is not fetched.
"""

import json
from collections import OrderedDict
from typing import Any, NamedTuple

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.job import Job
from hpcpipe.clients.records import Fetched
from hpcpipe.clients.robots import parse_robots
from hpcpipe.clients.url import Url
from hpcpipe.errors import missing_extra

ROBOTS_PATH = "/robots.txt"
TDM_PATH = "/.well-known/tdmrep.json"
KEPT_S = 24 * 3600.0
"""RFC 9309: rules should not be used for longer than a day."""
MAX_KEPT_BYTES = 16 << 20
"""Of rules as they came; parsed they take some times more."""
MAX_TDM_RULES = 1000

_ALLOWS_ALL = frozenset(
    {
        *(Failure.HTTP_4XX, Failure.FORBIDDEN, Failure.NOT_FOUND, Failure.EMPTY),
        *(Failure.BAD_REDIRECT, Failure.BAD_URL, Failure.REFUSED_ADDRESS),
    }
)
"""RFC 9309: rules that are not there, or behind too many redirects, forbid nothing."""
_SERVER_ERRORS = frozenset({Failure.HTTP_5XX, Failure.TOO_MANY_REQUESTS})


class Verdict(NamedTuple):
    """Why a URL is not fetched."""

    failure: Failure
    error: str
    http_status: int


class HostRules:
    """The rules of one origin.

    Attributes:
        num_missing: files that are still asked for.
        waiting: jobs that wait for them.
        expires: until when they are used, by the fetcher's clock.
        num_bytes: of the files.
    """

    __slots__ = (
        *("_agent", "_barred", "_robots", "_tdm", "expires"),
        *("num_bytes", "num_missing", "waiting"),
    )

    def __init__(self, agent: str, num_missing: int) -> None:
        """Know nothing yet. Raises nothing."""
        self._agent = agent
        self._robots: Any = None
        self._tdm: tuple[tuple[str, bool], ...] = ()
        self._barred: Verdict | None = None
        self.num_missing = num_missing
        self.waiting: list[Job] = []
        self.expires = float("inf")
        self.num_bytes = 0

    @property
    def is_barred(self) -> bool:
        """Nothing may be fetched, since robots.txt could not be read. Raises nothing."""
        return self._barred is not None

    def take_robots(self, fetched: Fetched) -> None:
        """Read robots.txt, or what came instead. Raises nothing."""
        failure = fetched.failure
        if failure is None:
            self.num_bytes += len(fetched.content)
            self._robots = parse_robots(fetched.content, self._agent)
        elif failure in _SERVER_ERRORS:
            failure = Failure.ROBOTS_UNREACHABLE
        if failure is not None and failure not in _ALLOWS_ALL:
            self._barred = Verdict(failure, f"robots.txt: {fetched.error}", fetched.http_status)

    def take_tdm(self, fetched: Fetched) -> None:
        """Read the TDM file; a host without a sound one does not reserve. Raises nothing."""
        if fetched.failure is None:
            self.num_bytes += len(fetched.content)
            self._tdm = _parse_tdm(fetched.content)

    def judge(self, url: Url) -> Verdict | None:
        """Tell why a URL is not to be fetched; None where it may be. Raises nothing."""
        if self._barred is not None:
            return self._barred
        if self._robots is not None and not self._robots.can_fetch(url.text, self._agent):
            return Verdict(Failure.ROBOTS_TXT, "robots.txt disallows it", 0)
        for pattern, is_reserved in self._tdm:
            if matches(pattern, url.path):
                if not is_reserved:
                    return None
                return Verdict(Failure.TDM_RESERVATION, f"{TDM_PATH} reserves {pattern}", 0)
        return None


class RuleBook:
    """The rules of many origins; those not asked for the longest are forgotten first."""

    def __init__(self, max_hosts: int) -> None:
        """Know none. Raises nothing."""
        self._max_hosts = max_hosts
        self._rules: OrderedDict[str, HostRules] = OrderedDict()
        self._num_bytes = 0

    def get(self, origin: str, now: float) -> HostRules | None:
        """Rules of an origin, where they are known or asked for. Raises nothing."""
        rules = self._rules.get(origin)
        if rules is None:
            return None
        if rules.expires <= now:
            self._forget(origin)
            return None
        self._rules.move_to_end(origin)
        return rules

    def put(self, origin: str, rules: HostRules) -> None:
        """Remember rules that are asked for. Raises nothing."""
        self._rules[origin] = rules

    def settle(self, rules: HostRules) -> None:
        """Rules have come: make room for their bytes. Raises nothing."""
        self._num_bytes += rules.num_bytes
        while self._num_bytes > MAX_KEPT_BYTES or len(self._rules) > self._max_hosts:
            oldest = next(iter(self._rules))
            if self._rules[oldest].num_missing or len(self._rules) == 1:
                return
            self._forget(oldest)

    def forget_missing(self) -> None:
        """Forget rules that did not come. Raises nothing."""
        for origin in [key for key, rules in self._rules.items() if rules.num_missing]:
            del self._rules[origin]

    def _forget(self, origin: str) -> None:
        self._num_bytes -= self._rules.pop(origin).num_bytes


def check_installed() -> None:
    """See that robots.txt can be read. Raises SetupError."""
    try:
        import protego  # noqa: F401
    except ImportError as error:
        raise missing_extra("protego", "download", "reading robots.txt") from error


def _parse_tdm(content: bytes) -> tuple[tuple[str, bool], ...]:
    try:
        rules = json.loads(content)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(rules, list):
        return ()
    return tuple(
        (rule["location"], rule.get("tdm-reservation") in (1, "1"))
        for rule in rules[:MAX_TDM_RULES]
        if isinstance(rule, dict) and isinstance(rule.get("location"), str)
    )


def matches(pattern: str, path: str) -> bool:
    """Match a path as robots.txt does, in time linear in its length for each ``*``.

    Args:
        pattern: beginning of a path; ``*`` is any text, a ``$`` at the end is the end.
        path: with the query.

    Returns:
        True where it matches.

    Raises:
        Nothing.
    """
    is_whole = pattern.endswith("$")
    first, *parts = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if is_whole and not parts:
        return at == len(path)
    last = parts.pop() if is_whole else ""
    for part in parts:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return not is_whole or (path.endswith(last) and len(path) - len(last) >= at)
