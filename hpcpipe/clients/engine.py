"""Jobs from one state to the next: name, rules, turn, transfer; again after redirect or failure.

One thread runs it all, and nothing in it waits but `Engine.step`.
"""

import random
from collections.abc import Callable

from hpcpipe.clients.clock import Clock
from hpcpipe.clients.deadlines import Deadlines
from hpcpipe.clients.failure import Failure
from hpcpipe.clients.host import Host, Hosts
from hpcpipe.clients.host_rules import HostRules
from hpcpipe.clients.job import Job, Where
from hpcpipe.clients.lookups import Lookup
from hpcpipe.clients.manners import BadRedirectError, note, redirect_target
from hpcpipe.clients.memory import Memory
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.proxies import Proxies
from hpcpipe.clients.records import Fetched
from hpcpipe.clients.resolver import Resolution, Resolver
from hpcpipe.clients.rule_desk import RuleDesk
from hpcpipe.clients.traffic import Ended, Traffic
from hpcpipe.clients.transfer import REDIRECTS
from hpcpipe.clients.url import BadUrlError, parse_url

_MAX_WAIT_S = 1.0
_MAX_DOUBLINGS = 10
_BY_PROXY = Resolution((), None, "", 0.0)


class Engine:
    """Everything that fetching shares: connections, hosts, names, rules, memory.

    Attributes:
        clock: by which deadlines are told.
        memory: the account of bytes.
        hosts: what is remembered of hosts.
    """

    def __init__(self, options: FetchOptions, lookup: Lookup) -> None:
        """Set all up.

        Args:
            options: limits and rules.
            lookup: names to addresses.

        Raises:
            SetupError: pycurl or protego is not installed, or no certificate can be trusted.
            ConfigError: so many transfers need more files than may be open, or there is no
                `ca_file`.
        """
        self._options = options
        self.clock = Clock()
        self.memory = Memory(options.max_held_bytes)
        self.hosts = Hosts(options.max_hosts)
        self._deadlines = Deadlines()
        self._rules = RuleDesk(options, self.add, self.clock.now)
        self._traffic = Traffic(options, self.clock, self._deadlines, self.memory)
        self._schedule = self._traffic.schedule
        self._resolver = Resolver(options, lookup, self._traffic.wake)
        self._proxies = Proxies()
        self._random = random.Random()

    def fill(self, next_job: Callable[[], Job | None]) -> None:
        """Start what can be started, and take more jobs while there is nothing better to do.

        Args:
            next_job: makes the next job; None where there is none now.

        Raises:
            Exception: what `next_job` raises.
        """
        self._traffic.start_ready()
        while self._traffic.has_room and self._resolver.has_room:
            job = next_job()
            if job is None:
                return
            self.add(job)
            self._traffic.start_ready()

    def add(self, job: Job) -> None:
        """Take a job over; its `on_done` will be called once. Raises nothing."""
        now = self.clock.now()
        job.begun = now
        try:
            job.url = job.first_url = parse_url(job.text)
        except BadUrlError as error:
            self._finish(job, Failure.BAD_URL, str(error))
            return
        self._deadlines.set(job, now + self._options.deadline_s)
        self._enter(job, now)

    def step(self) -> None:
        """Wait until something happens, or a second, and deal with it; `fill` comes before.

        Raises:
            OSError: of epoll or eventfd.
        """
        next_time = min(self._deadlines.next_time(), self._schedule.next_time())
        wait_s = min(next_time - self.clock.now(), _MAX_WAIT_S)
        for ended in self._traffic.step(wait_s):
            self._settle(ended)
        now = self.clock.now()
        for found, jobs in self._resolver.collect(now):
            for job in jobs:
                if job.where is Where.NAME:
                    self._resolved(job, found, now)
        self._expire(now)
        for job in self._schedule.due_jobs(now):
            self._enter(job, now)

    def abort(self) -> None:
        """Drop all jobs; what is known of hosts stays. Raises nothing."""
        self._traffic.abort()
        self._deadlines.clear()
        self._rules.abort()

    def close(self) -> None:
        """Close connections and let threads end. Raises nothing."""
        self.abort()
        self._resolver.close()
        self._traffic.close()

    def _enter(self, job: Job, now: float) -> None:
        """Begin a try, or the next hop of one: is the host alive, and what is its address."""
        url = job.url
        job.where = Where.NAME
        job.host = self.hosts.get(url.host, url.port)
        if job.host.dead_until > now:
            self._finish_dead(job)
            return
        job.proxy = self._proxies.of(url)
        found = self._resolver.cached(url.host, now)
        if job.proxy:
            found = self._resolver.literal(url.host) or _BY_PROXY
        if found is not None:
            self._resolved(job, found, now)
        else:
            self._resolver.ask(url.host, url.port, job)

    def _resolved(self, job: Job, found: Resolution, now: float) -> None:
        job.addresses = found.addresses
        if found.failure is not None:
            self._finish(job, found.failure, found.error)
        elif self._rules.is_needed and not job.is_rule:
            job.where = Where.RULES
            self._rules.ask(job, self._judge)
        else:
            self._queue(job, now)

    def _judge(self, job: Job, rules: HostRules) -> None:
        verdict = rules.judge(job.url)
        if verdict is None:
            self._queue(job, self.clock.now())
        else:
            job.status = verdict.http_status
            self._finish(job, verdict.failure, verdict.error)

    def _queue(self, job: Job, now: float) -> None:
        is_first = not (job.has_started or job.is_rule)
        job.where = Where.FIRST_TURN if is_first else Where.TURN
        if is_first:
            job.left_s = job.deadline - now
            self._deadlines.set(job, now + self._options.host_wait_s)
        self._schedule.put(job, now, first=not is_first)
        if job.host.not_before > job.deadline:
            self._drop_hopeless(job.host, now)

    def _settle(self, ended: Ended) -> None:
        job, outcome, seconds = ended
        now, head = self.clock.now(), outcome.head
        job.num_bytes = outcome.num_bytes
        job.status = head.status
        job.content_type = head.first("content-type")
        if not job.is_rule:
            job.host.count(seconds, outcome.failure is not None)
        if note(job.host, outcome, seconds, now, self._options):
            self._drop_hopeless(job.host, now)
        self._schedule.end_turn(job.host, now)
        if outcome.failure is not None:
            self._fail(job, outcome.failure, outcome.error, now)
        elif head.status in REDIRECTS:
            self._redirect(job, head.first("location"), now)
        else:
            self.memory.learn(len(outcome.content))
            self._finish(job, None, "", outcome.content)

    def _redirect(self, job: Job, location: str, now: float) -> None:
        try:
            job.url = redirect_target(job, location, self._options.max_redirects)
        except BadRedirectError as error:
            self._finish(job, Failure.BAD_REDIRECT, str(error))
        else:
            self._enter(job, now)

    def _fail(self, job: Job, failure: Failure, error: str, now: float) -> None:
        """Try again later, or be done."""
        job.failure, job.error = failure, error
        options = self._options
        if failure.is_transient and job.num_tries < options.max_tries:
            pause_s = (
                options.backoff_s
                * 2 ** min(job.num_tries - 1, _MAX_DOUBLINGS)
                * self._random.uniform(0.5, 1.0)
            )
            due = max(now + pause_s, job.host.not_before)
            if due < job.deadline:
                job.url = job.first_url
                job.seen = None
                job.where = Where.NEXT_TRY
                self._schedule.put_later(job, due)
                return
        self._finish(job, failure, error)

    def _finish(self, job: Job, failure: Failure | None, error: str, content: bytes = b"") -> None:
        is_url = job.where is not Where.NOWHERE
        job.where = Where.DONE
        job.on_done(
            Fetched(
                index=job.index,
                url=job.text,
                final_url=job.url.text if is_url else "",
                failure=failure,
                error=error,
                http_status=job.status,
                content_type=job.content_type,
                content=content,
                num_bytes=job.num_bytes,
                seconds=self.clock.now() - job.begun,
                num_tries=job.num_tries,
            )
        )
        if job.is_rule:
            self.memory.release(len(content))

    def _finish_dead(self, job: Job) -> None:
        if job.failure is not None:
            self._finish(job, job.failure, job.error)
        else:
            error = f"{job.host.name} did not answer {job.host.num_silent} times in a row"
            self._finish(job, Failure.DEAD_HOST, error)

    def _drop_hopeless(self, host: Host, now: float) -> None:
        """End the jobs that wait for a host in vain."""
        for job in list(host.waiting):
            if job.where is Where.DONE:
                continue
            if host.dead_until > now:
                self._finish_dead(job)
            elif host.not_before > job.deadline:
                error = f"{host.name} asks for a pause of {host.not_before - now:.0f} s"
                self._finish(job, job.failure or Failure.HOST_BUSY, job.error or error)

    def _expire(self, now: float) -> None:
        for job in self._deadlines.expired(now):
            failure, error = job.lateness(self._options.deadline_s, self._options.host_wait_s)
            if job.where is Where.TRANSFER:
                for ended in self._traffic.cut(job, failure, error):
                    self._settle(ended)
            else:
                self._finish(job, failure, error)
