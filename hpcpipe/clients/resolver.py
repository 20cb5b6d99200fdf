"""Names to addresses: looked up in threads, kept for a while, vetted.

``getaddrinfo`` is asked, so that /etc/hosts and whatever else the machine knows of names counts.
It tells no time to live; addresses are kept for a time that the options say. Names whose servers
do not answer now are asked for again by threads of their own, so that they hold up no others.
"""

import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from hpcpipe.clients.addresses import is_public
from hpcpipe.clients.failure import Failure
from hpcpipe.clients.job import Job, Where
from hpcpipe.clients.lookups import Crew, Lookup, Question
from hpcpipe.clients.options import FetchOptions

MAX_NAMES = 50_000
MAX_ADDRESSES = 8
_SHARE_OF_RETRIES = 4
"""Of so many threads, one more asks again."""


class Resolution(NamedTuple):
    """What a name leads to.

    Attributes:
        addresses: those that may be connected to, in the order to be tried.
        failure: why there are none.
        error: the same in words.
        expires: until when it is used, by the fetcher's clock.
    """

    addresses: tuple[str, ...]
    failure: Failure | None
    error: str
    expires: float


class _Found(NamedTuple):
    question: Question
    resolution: Resolution
    may_pass: bool


class Resolver:
    """Looks names up, each once however many wait for it."""

    def __init__(self, options: FetchOptions, lookup: Lookup, wake: Callable[[], None]) -> None:
        """Start no thread yet.

        Args:
            options: threads, tries, times to live, and whether private addresses are allowed.
            lookup: what is asked for addresses, in threads.
            wake: called from a thread when a look-up has ended.

        Raises:
            Nothing.
        """
        self._options = options
        self._lookup = lookup
        self._wake = wake
        self._known: OrderedDict[str, Resolution] = OrderedDict()
        self._waiting: dict[str, list[Job]] = {}
        self._retried: set[str] = set()
        self._found: deque[_Found] = deque()
        num_retries = -(-options.dns_threads // _SHARE_OF_RETRIES)
        self._first, self._again = (
            Crew(num_threads, self._answer) for num_threads in (options.dns_threads, num_retries)
        )

    @property
    def has_room(self) -> bool:
        """False while as many names wait as would only wait longer for more. Raises nothing."""
        return len(self._waiting) - len(self._retried) < 2 * self._options.dns_threads

    def cached(self, host: str, now: float) -> Resolution | None:
        """What a name was found to lead to, where that is still good. Raises nothing."""
        known = self._known.get(host)
        if known is not None and known.expires > now:
            self._known.move_to_end(host)
            return known
        return self.literal(host)

    def literal(self, host: str) -> Resolution | None:
        """Judge a host that needs no look-up; None for one that does. Raises nothing."""
        if host == "localhost" or host.endswith(".localhost"):  # RFC 6761
            return self._vetted(["127.0.0.1", "::1"])
        return self._vetted([host]) if ":" in host or host.replace(".", "").isdigit() else None

    def ask(self, host: str, port: int, job: Job) -> None:
        """Look a name up; `collect` hands the job back. Raises nothing."""
        if host in self._waiting:
            self._waiting[host].append(job)
            return
        self._waiting[host] = [job]
        self._first.ask(Question(host, port, 1, 0.0))

    def collect(self, now: float) -> list[tuple[Resolution, list[Job]]]:
        """Take the look-ups that have ended, with the jobs that wait for them. Raises nothing."""
        ended = []
        while self._found:
            question, found, may_pass = self._found.popleft()
            if may_pass and self._try_again(question):
                continue
            host = question.host
            self._retried.discard(host)
            is_good = found.failure in (None, Failure.REFUSED_ADDRESS)
            options = self._options
            ttl_s = options.dns_ttl_s if is_good else options.dns_negative_ttl_s
            found = found._replace(expires=now + ttl_s)
            self._known[host] = found
            ended.append((found, self._waiting.pop(host, [])))
        while len(self._known) > MAX_NAMES:
            self._known.popitem(last=False)
        return ended

    def close(self) -> None:
        """Let the threads end, each after the look-up it is at. Raises nothing."""
        self._first.close()
        self._again.close()

    def _try_again(self, question: Question) -> bool:
        host, port, num_tries, _ = question
        if num_tries >= self._options.dns_tries or not self._is_waited_for(host):
            return False
        pause_s = self._options.backoff_s * 2 ** (num_tries - 1)
        self._retried.add(host)
        self._again.ask(Question(host, port, num_tries + 1, time.monotonic() + pause_s))
        return True

    def _is_waited_for(self, host: str) -> bool:
        return any(job.where is Where.NAME for job in self._waiting.get(host, ()))

    def _answer(self, question: Question) -> None:
        """In a thread: look a name up."""
        may_pass = False
        try:
            found = self._vetted(self._lookup(question.host, question.port))
        except (OSError, UnicodeError) as error:
            number = getattr(error, "errno", None)
            may_pass = number == socket.EAI_AGAIN
            is_unknown = isinstance(error, UnicodeError) or number in _NO_SUCH_NAME
            failure = Failure.UNKNOWN_HOST if is_unknown else Failure.DNS
            found = Resolution((), failure, f"the name was not found: {error}", 0.0)
        self._found.append(_Found(question, found, may_pass))
        self._wake()

    def _vetted(self, addresses: list[str]) -> Resolution:
        unique = tuple(dict.fromkeys(addresses))
        if not unique:
            return Resolution((), Failure.UNKNOWN_HOST, "the name has no address", 0.0)
        if not self._options.allow_private_hosts:
            public = tuple(address for address in unique if is_public(address))
            if not public:
                return Resolution((), Failure.REFUSED_ADDRESS, refusal(unique[0]), 0.0)
            unique = public
        return Resolution(unique[:MAX_ADDRESSES], None, "", 0.0)


def refusal(address: str) -> str:
    """Say why an address is not connected to. Raises nothing."""
    return (
        f"{address} is a private or special address, and these are refused "
        "unless allow_private_hosts is true"
    )


_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
