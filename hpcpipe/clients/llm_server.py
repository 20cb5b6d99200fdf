"""One server as its client sees it: what is in flight, how fast it is, and whether it is well."""

import time
from itertools import count

_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_MAX_OVERTAKEN = 3
"""Times `max_in_flight`: requests that may be overtaken at once."""


class Server:
    """A server.

    A request that was *overtaken* by many later ones holds no place any more: whatever keeps it,
    it does not keep the server. Where a whole server is slow, nothing is overtaken, and it gets no
    more than `max_in_flight` requests.

    Attributes:
        url: without a slash at its end.
        max_in_flight: requests at once.
        trouble: why it is left alone; "" while it is well.
        probe_at: monotonic time of the next probe, where it is left alone.
        answered_at: monotonic time of its last answer; 0 while there is none.
        num_asked: requests it got.
        mean_s: how long it takes for an answer, of late; 0 while there is none.
    """

    def __init__(self, url: str, max_in_flight: int) -> None:
        """Take a server for well.

        Args:
            url: where it is.
            max_in_flight: requests at once.

        Raises:
            Nothing.
        """
        self.url = url
        self.max_in_flight = max_in_flight
        self.trouble = ""
        self.probe_at = 0.0
        self.answered_at = 0.0
        self.num_asked = 0
        self.mean_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._tickets = count()
        self._num_answered = 0
        self._sent: dict[int, int] = {}
        self._overtaken: set[int] = set()

    @property
    def num_in_flight(self) -> int:
        """Requests that hold a place. Raises nothing."""
        return len(self._sent)

    @property
    def has_room(self) -> bool:
        """True where it is well and another request may be sent. Raises nothing."""
        return not self.trouble and self.num_in_flight < self.max_in_flight

    def forget_requests(self) -> None:
        """Nothing is in flight any more. Raises nothing."""
        self._sent.clear()
        self._overtaken.clear()

    def begin(self) -> int:
        """Note that a request is sent; returns its ticket. Raises nothing."""
        ticket = next(self._tickets)
        self._sent[ticket] = self._num_answered
        self.num_asked += 1
        return ticket

    def end(self, ticket: int) -> None:
        """Note that a request has ended, however. Raises nothing."""
        self._sent.pop(ticket, None)
        self._overtaken.discard(ticket)

    def answered(self, seconds: float) -> None:
        """Note an answer, which shows that the server is well.

        Args:
            seconds: that it took.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        self.answered_at = time.monotonic()
        self.mean_s += (seconds - self.mean_s) * (0.05 if self._num_answered else 1.0)
        self._num_answered += 1
        self._pause_s = _FIRST_PAUSE_S
        if self._sent and len(self._overtaken) < _MAX_OVERTAKEN * self.max_in_flight:
            oldest, num_before = next(iter(self._sent.items()))
            if self._num_answered - num_before > 2 * self.max_in_flight:
                del self._sent[oldest]
                self._overtaken.add(oldest)

    def leave_alone(self, trouble: str, pause_s: float | None) -> None:
        """Ask it nothing but a probe, after a while; each time that is longer, until it answers.

        Args:
            trouble: why.
            pause_s: how long; None for as long as seems good.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        self.trouble = trouble
        if pause_s is None:
            pause_s = self._pause_s
            self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)
        self.probe_at = time.monotonic() + pause_s

    def is_well_again(self) -> None:
        """A probe was answered. Raises nothing."""
        self.trouble = ""
