"""One URL on its way: where it is, how often it was tried, how long it may still take."""

from collections.abc import Callable
from enum import Enum, auto

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.host import Host
from hpcpipe.clients.records import Fetched
from hpcpipe.clients.url import Url


class Where(Enum):
    """What a job waits for."""

    NOWHERE = auto()
    NAME = auto()
    RULES = auto()
    FIRST_TURN = auto()
    TURN = auto()
    TRANSFER = auto()
    ROOM = auto()
    NEXT_TRY = auto()
    DONE = auto()


class Job:
    """A request, or a file of rules, from its beginning to its end.

    Attributes:
        index, text: the request's.
        on_done: told the result.
        is_rule: robots.txt or its like: asks for no rules itself, and may be cut at its cap.
        url: where it is now; None before it was parsed.
        first_url: where it began.
        seen: URLs of this try, to find circles.
        host: of `url`.
        addresses: of `host`; empty where a proxy looks names up.
        proxy: URL of the proxy for `url`; "" for none.
        where: what it waits for.
        deadline: when it is given up, by the fetcher's clock.
        watched_until: when the deadline is looked at next.
        left_s: what the deadline has left, while it stands still.
        begun: when the first look-up or transfer began.
        num_tries: transfers begun, not counting redirects.
        has_started: whether its first turn came.
        expected_bytes: what the file is known to take at least; 0 for unknown.
        failure, error: of the last try.
        status, content_type, num_bytes: of the last answer.
    """

    __slots__ = (
        *("addresses", "begun", "content_type", "deadline", "error", "expected_bytes", "failure"),
        *("first_url", "has_started", "host", "index", "is_rule", "left_s", "num_bytes"),
        *(
            "num_tries",
            "on_done",
            "proxy",
            "seen",
            "status",
            "text",
            "url",
            "watched_until",
            "where",
        ),
    )

    url: Url
    first_url: Url
    host: Host

    def __init__(
        self, index: int, text: str, on_done: Callable[[Fetched], None], is_rule: bool = False
    ) -> None:
        """Make a job that is nowhere yet. Raises nothing."""
        self.index = index
        self.text = text
        self.on_done = on_done
        self.is_rule = is_rule
        self.seen: set[str] | None = None
        self.addresses: tuple[str, ...] = ()
        self.proxy = ""
        self.where = Where.NOWHERE
        self.deadline = 0.0
        self.watched_until = float("inf")
        self.left_s = 0.0
        self.begun = 0.0
        self.num_tries = 0
        self.has_started = False
        self.expected_bytes = 0
        self.failure: Failure | None = None
        self.error = ""
        self.status = 0
        self.content_type = ""
        self.num_bytes = 0

    def lateness(self, deadline_s: float, host_wait_s: float) -> tuple[Failure, str]:
        """Say what took too long where the deadline passed outside a transfer.

        Args:
            deadline_s: from the options, for the message.
            host_wait_s: likewise.

        Returns:
            Class and words.

        Raises:
            Nothing.
        """
        if self.where is Where.TRANSFER:
            return Failure.TIMEOUT, f"not done within {deadline_s:g} s"
        if self.failure is not None:
            return self.failure, self.error
        if self.where is Where.NAME:
            return Failure.DNS, f"the name was not looked up within {deadline_s:g} s"
        if self.where is Where.RULES:
            return Failure.TIMEOUT, f"the host's rules did not come within {deadline_s:g} s"
        if self.where is Where.FIRST_TURN:
            return Failure.HOST_BUSY, f"the host's turn did not come within {host_wait_s:g} s"
        return Failure.TIMEOUT, f"not done within {deadline_s:g} s"
