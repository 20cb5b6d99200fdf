"""How URLs are fetched: limits, patience, and what is obeyed. The values live in YAML."""

import re
from dataclasses import dataclass

from hpcpipe.errors import ConfigError

_AGENT = re.compile(r"[A-Za-z_-]+")
_CONTACT = re.compile(r"(https?://|mailto:)?[^\s()<>;@]+(@[^\s()<>;@]+)?")


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Options of a `Fetcher`.

    A host is a name and a port.

    Attributes:
        agent: the product's name in ``User-Agent``; robots.txt and X-Robots-Tag may speak of it.
        contact: mail address or web page in ``User-Agent``, for who wonders about the requests;
            None to give none.
        max_transfers: transfers at once.
        max_per_host: of those, at one host.
        host_rate_per_s: new transfers at one host in a second; None for no limit.
        max_waiting: requests taken from the caller and not finished; bounds how far one goes past
            a host whose turn is not yet.
        deadline_s: for one URL: look-up, redirects, tries, pauses between them, all together.
        host_wait_s: longest wait of a URL for its first turn at its host; the deadline stands
            still meanwhile, so that a long list of one host is not lost to its own limit.
        connect_timeout_s: for one connection, TLS included.
        max_tries: transfers of one URL; only transient failures are tried again.
        backoff_s: pause before the second try; doubles with each, and is cut at random.
        max_redirects: of one try.
        max_file_bytes: a larger file is given up as soon as it shows, after decoding.
        max_held_bytes: bytes held at once, of transfers and of results not yet taken.
        dns_threads: first look-ups at once; a quarter as many more ask again.
        dns_tries: for names whose servers do not answer now.
        dns_ttl_s: how long addresses are used.
        dns_negative_ttl_s: how long a failed look-up is not repeated.
        dead_after: failures to connect or to answer, in a row, until a host counts as dead; where
            each takes all its time, one round of `max_per_host` (at least two) is enough.
        dead_host_s: how long its URLs then fail at once.
        max_hosts: hosts remembered: their failures, pauses, rules and statistics.
        allow_private_hosts: also fetch from private, loopback and other special addresses.
        verify_tls: refuse certificates that are not to be trusted.
        ca_file: certificates (PEM) to trust; None for the system's.
        obey_robots_txt: leave out what robots.txt disallows.
        obey_tdmrep: leave out what reserves its rights by the TDM Reservation Protocol.
        x_robots_directives: leave out what ``X-Robots-Tag`` forbids by one of these.
    """

    agent: str
    contact: str | None
    max_transfers: int
    max_per_host: int
    host_rate_per_s: float | None
    max_waiting: int
    deadline_s: float
    host_wait_s: float
    connect_timeout_s: float
    max_tries: int
    backoff_s: float
    max_redirects: int
    max_file_bytes: int
    max_held_bytes: int
    dns_threads: int
    dns_tries: int
    dns_ttl_s: float
    dns_negative_ttl_s: float
    dead_after: int
    dead_host_s: float
    max_hosts: int
    allow_private_hosts: bool
    verify_tls: bool
    ca_file: str | None
    obey_robots_txt: bool
    obey_tdmrep: bool
    x_robots_directives: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check what each number, and some together, may be. Raises ConfigError."""
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, and is {getattr(self, name)}.")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be more than 0, and is {value}.")
        if self.max_redirects < 0:
            raise ConfigError(f"max_redirects must not be negative, and is {self.max_redirects}.")
        if self.max_held_bytes < self.max_file_bytes:
            raise ConfigError(
                f"max_held_bytes ({self.max_held_bytes}) is less than max_file_bytes "
                f"({self.max_file_bytes}): the largest file would never fit. Raise it."
            )
        if self.max_hosts < 2 * self.max_waiting:
            raise ConfigError(
                f"max_hosts ({self.max_hosts}) must be at least twice max_waiting "
                f"({self.max_waiting}), so that no host is forgotten while it is waited for."
            )
        self._check_identity()

    def _check_identity(self) -> None:
        if not _AGENT.fullmatch(self.agent):
            raise ConfigError(
                f"agent must be a name of letters, - and _, as in robots.txt, not {self.agent!r}."
            )
        if self.contact is None:
            return
        if not _CONTACT.fullmatch(self.contact) or not re.search(r"@|://", self.contact):
            raise ConfigError(
                f"contact must be a mail address or a URL that explains the requests, "
                f"not {self.contact!r}; it is sent to every host."
            )

    @property
    def user_agent(self) -> str:
        """The ``User-Agent`` header. Raises nothing."""
        from hpcpipe import __version__

        contact = f"; +{self.contact}" if self.contact else ""
        return f"Mozilla/5.0 (compatible; {self.agent}/{__version__}{contact})"


_AT_LEAST_ONE = (
    *("max_transfers", "max_per_host", "max_waiting", "max_tries", "max_file_bytes"),
    *("dns_threads", "dns_tries", "dead_after", "max_hosts"),
)
_POSITIVE = (
    *("host_rate_per_s", "deadline_s", "host_wait_s", "connect_timeout_s", "backoff_s"),
    *("dns_ttl_s", "dns_negative_ttl_s", "dead_host_s"),
)
