"""Asks hosts for their rules, once for all jobs that wait for them."""

from collections.abc import Callable

from hpcpipe.clients.host_rules import (
    KEPT_S,
    ROBOTS_PATH,
    TDM_PATH,
    HostRules,
    RuleBook,
    check_installed,
)
from hpcpipe.clients.job import Job, Where
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.records import Fetched


class RuleDesk:
    """Where jobs wait until the rules of their host are known.

    Attributes:
        is_needed: False where no file of rules is to be obeyed.
    """

    def __init__(
        self, options: FetchOptions, submit: Callable[[Job], None], now: Callable[[], float]
    ) -> None:
        """Know no rules yet.

        Args:
            options: what is obeyed.
            submit: takes over a job that fetches a file of rules.
            now: the fetcher's clock.

        Raises:
            SetupError: protego is not installed, and robots.txt is to be obeyed.
        """
        if options.obey_robots_txt:
            check_installed()
        self._options = options
        self._submit = submit
        self._now = now
        self._book = RuleBook(options.max_hosts)
        self.is_needed = options.obey_robots_txt or options.obey_tdmrep

    def ask(self, job: Job, judge: Callable[[Job, HostRules], None]) -> None:
        """Have a job judged as soon as the rules of its origin are known.

        Args:
            job: whose `url` is to be judged; it waits by `Where.RULES`.
            judge: called once, now or later, unless the job ends before.

        Raises:
            Nothing.
        """
        origin = job.url.origin
        rules = self._book.get(origin, self._now())
        if rules is not None and not rules.num_missing:
            judge(job, rules)
        elif rules is not None:
            rules.waiting.append(job)
        else:
            self._ask_host(origin, job, judge)

    def abort(self) -> None:
        """Forget rules that were asked for and have not come. Raises nothing."""
        self._book.forget_missing()

    def _ask_host(self, origin: str, job: Job, judge: Callable[[Job, HostRules], None]) -> None:
        options = self._options
        rules = HostRules(options.agent, options.obey_robots_txt + options.obey_tdmrep)
        rules.waiting.append(job)
        self._book.put(origin, rules)

        def settle(take: Callable[[Fetched], None], fetched: Fetched) -> None:
            take(fetched)
            rules.num_missing -= 1
            if not rules.num_missing:
                kept_s = options.dead_host_s if rules.is_barred else KEPT_S
                rules.expires = self._now() + kept_s
                self._book.settle(rules)
            if not rules.num_missing or rules.is_barred:
                waiting, rules.waiting = rules.waiting, []
                for one in waiting:
                    if one.where is Where.RULES:
                        judge(one, rules)

        if options.obey_robots_txt:
            self._submit(_job(origin + ROBOTS_PATH, lambda got: settle(rules.take_robots, got)))
        if options.obey_tdmrep:
            self._submit(_job(origin + TDM_PATH, lambda got: settle(rules.take_tdm, got)))


def _job(url: str, on_done: Callable[[Fetched], None]) -> Job:
    return Job(-1, url, on_done, is_rule=True)
