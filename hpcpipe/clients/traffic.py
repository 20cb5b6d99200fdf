"""The transfers under way: started as there is room, cut off when they take too long."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from hpcpipe.clients.clock import Clock
from hpcpipe.clients.connections import Connections
from hpcpipe.clients.deadlines import Deadlines
from hpcpipe.clients.failure import Failure
from hpcpipe.clients.job import Job, Where
from hpcpipe.clients.memory import Memory
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.schedule import Schedule
from hpcpipe.clients.transfer import Outcome, Transfer


class Ended(NamedTuple):
    """A transfer that ended, and the seconds it took; its host's turn is still taken."""

    job: Job
    outcome: Outcome
    seconds: float


class Traffic:
    """Transfers, and the room there is for more.

    Attributes:
        schedule: whose turn it is.
        memory: the account of bytes.
    """

    def __init__(
        self, options: FetchOptions, clock: Clock, deadlines: Deadlines, memory: Memory
    ) -> None:
        """Begin without any.

        Args:
            options: how many at once, how long to connect.
            clock: by which deadlines are told.
            deadlines: of the jobs; one stands still while its job waits for room.
            memory: where transfers reserve bytes.

        Raises:
            SetupError: pycurl is not installed, or no certificate can be trusted.
            ConfigError: so many transfers need more files than may be open, or there is no
                `ca_file`.
        """
        self._options = options
        self._clock = clock
        self._deadlines = deadlines
        self.memory = memory
        self.schedule = Schedule(options.max_per_host, options.host_rate_per_s)
        self._connections = Connections(options, memory)
        self._transfers: dict[Job, Transfer] = {}
        self._put_back: deque[Job] = deque()
        self._connecting: dict[Job, float] = {}

    @property
    def has_room(self) -> bool:
        """One more transfer could start, and nobody waits for it. Raises nothing."""
        return (
            len(self._transfers) < self._options.max_transfers
            and not self.schedule.has_ready
            and not self._put_back
            and self.memory.has_room(int(self.memory.mean_bytes))
        )

    @property
    def wake(self) -> Callable[[], None]:
        """Ends a `step` that waits, from another thread. Raises nothing."""
        return self._connections.wake

    def start_ready(self) -> None:
        """Start what there is room for. Raises nothing."""
        now = self._clock.now()
        while len(self._transfers) < self._options.max_transfers:
            wanted = int(self.memory.mean_bytes)
            if self._put_back:
                wanted = max(wanted, self._put_back[0].expected_bytes)
            if not self.memory.has_room(wanted):
                return
            job = self._put_back.popleft() if self._put_back else self.schedule.take(now)
            if job is None:
                return
            self._start(job, now, wanted)

    def step(self, wait_s: float) -> Iterator[Ended]:
        """Wait until something happens.

        Args:
            wait_s: at most.

        Yields:
            The transfers that ended.

        Raises:
            OSError: of epoll or eventfd.
        """
        for when in self._connecting.values():
            wait_s = min(wait_s, when - self._clock.now())
            break
        for transfer, code, message in self._connections.step(wait_s):
            yield from self._end(transfer, code, message)
        yield from self._cut_unconnected()

    def cut(self, job: Job, failure: Failure, error: str) -> Iterator[Ended]:
        """End the transfer of a job. Raises nothing."""
        transfer = self._transfers[job]
        self._connections.abort(transfer)
        transfer.give_up(failure, error)
        yield from self._end(transfer, 0, "")

    def abort(self) -> None:
        """End all transfers, without results. Raises nothing."""
        now = self._clock.now()
        for transfer in self._transfers.values():
            self._connections.abort(transfer)
            self.memory.release(len(transfer.outcome(0, "").content))
            self._connections.recycle(transfer)
        for job in (*self._transfers, *self._put_back):
            self.schedule.end_turn(job.host, now)
        self._transfers.clear()
        self._put_back.clear()
        self._connecting.clear()

    def close(self) -> None:
        """Close all connections. Raises nothing."""
        self.abort()
        self._connections.close()

    def _start(self, job: Job, now: float, reserved_bytes: int) -> None:
        if job.where is Where.FIRST_TURN:
            job.begun += now - job.deadline + self._options.host_wait_s
        if job.where in (Where.FIRST_TURN, Where.ROOM):
            self._deadlines.set(job, now + job.left_s)
        job.has_started = True
        job.num_tries += job.seen is None
        job.where = Where.TRANSFER
        self.memory.hold(reserved_bytes)
        self._transfers[job] = self._connections.start(job, now, reserved_bytes)
        self._connecting[job] = now + self._options.connect_timeout_s

    def _end(self, transfer: Transfer, code: int, message: str) -> Iterator[Ended]:
        job, now = transfer.job, self._clock.now()
        outcome = transfer.outcome(code, message)
        del self._transfers[job]
        self._connecting.pop(job, None)
        self._connections.recycle(transfer)
        if not outcome.is_put_back:
            yield Ended(job, outcome, now - transfer.begun)
            return
        job.where = Where.ROOM
        job.left_s = job.deadline - now
        job.num_tries -= job.seen is None
        self._deadlines.set(job, float("inf"))
        self._put_back.append(job)

    def _cut_unconnected(self) -> Iterator[Ended]:
        now, timeout_s = self._clock.now(), self._options.connect_timeout_s
        # in the order in which they began
        while (job := next(iter(self._connecting), None)) and self._connecting[job] <= now:
            del self._connecting[job]
            if not self._connections.is_connected(self._transfers[job]):
                yield from self.cut(job, Failure.CONNECT, f"no connection within {timeout_s:g} s")
