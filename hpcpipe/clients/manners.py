"""What is concluded from how a host answers: it is dead, or wants to be left alone for a while."""

from hpcpipe.clients.failure import Failure
from hpcpipe.clients.host import Host
from hpcpipe.clients.job import Job
from hpcpipe.clients.options import FetchOptions
from hpcpipe.clients.transfer import Outcome
from hpcpipe.clients.url import BadUrlError, Url, join_url

MAX_PAUSE_S = 24 * 3600.0
"""No host is left alone for longer, whatever it asks for."""
MAX_RULE_REDIRECTS = 5
"""Of robots.txt and its like; RFC 9309."""
_MAX_DOUBLINGS = 6
_MIN_ROUND = 2
_PAUSES_ASKED_BY = (429, 503)


class BadRedirectError(ValueError):
    """A redirect that is not followed; its message says why."""


def note(host: Host, outcome: Outcome, seconds: float, now: float, options: FetchOptions) -> bool:
    """Remember how a host dealt with a request.

    Args:
        host: it.
        outcome: of the transfer.
        seconds: it took.
        now: by the fetcher's clock.
        options: patience.

    Returns:
        True where the host is dead or paused now, so that waiting for it may be in vain.

    Raises:
        Nothing.
    """
    status = outcome.head.status
    if status:
        host.num_silent = 0
    elif _is_silence(outcome, seconds, options):
        host.num_silent += 1
        if host.num_silent >= _enough(outcome, seconds, options):
            host.dead_until = now + options.dead_host_s
            return True
    if status in _PAUSES_ASKED_BY:
        return _pause(host, outcome, now, options)
    if outcome.failure is None:
        host.num_pauses = 0
    return False


def _is_silence(outcome: Outcome, seconds: float, options: FetchOptions) -> bool:
    if outcome.failure is Failure.TIMEOUT:  # of a last try that had little time left: no sign
        return seconds >= min(options.connect_timeout_s, options.deadline_s / 2)
    return outcome.failure is Failure.CONNECT


def _enough(outcome: Outcome, seconds: float, options: FetchOptions) -> int:
    """Silences in a row that make a host dead; where each takes long, one round of transfers."""
    if outcome.failure is Failure.CONNECT and seconds < options.connect_timeout_s:
        return options.dead_after
    return min(options.dead_after, max(_MIN_ROUND, options.max_per_host))


def _pause(host: Host, outcome: Outcome, now: float, options: FetchOptions) -> bool:
    pause_s = outcome.head.retry_after_s()
    if pause_s is None:
        if outcome.head.status != 429:
            return False
        pause_s = options.backoff_s * 2 ** min(host.num_pauses, _MAX_DOUBLINGS)
        host.num_pauses += 1
    host.not_before = max(host.not_before, now + min(pause_s, MAX_PAUSE_S))
    return True


def redirect_target(job: Job, location: str, max_redirects: int) -> Url:
    """Tell where a redirect leads.

    Args:
        job: which was redirected; its `seen` URLs are extended.
        location: the header.
        max_redirects: that may be followed.

    Returns:
        The next URL.

    Raises:
        BadRedirectError: it is not to be followed.
    """
    if job.seen is None:
        job.seen = set()
    job.seen.add(job.url.text)
    limit = MAX_RULE_REDIRECTS if job.is_rule else max_redirects
    if not location:
        raise BadRedirectError("redirected to nowhere: no Location")
    try:
        target = join_url(job.url, location)
    except BadUrlError as error:
        raise BadRedirectError(f"redirected to what cannot be fetched: {error}") from error
    if target.text in job.seen:
        raise BadRedirectError("redirected in a circle")
    if len(job.seen) > limit:
        raise BadRedirectError(f"more than {limit} redirects")
    return target
