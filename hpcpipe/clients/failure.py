"""Why a URL could not be fetched: a closed set of classes, and which of them may pass."""

from enum import StrEnum


class Failure(StrEnum):
    """One class of failure; its value is what tables and counters show."""

    BAD_URL = "bad_url"
    """No http or https URL, or one with a user name."""
    REFUSED_ADDRESS = "refused_address"
    """The name leads to private, loopback or other special addresses only."""
    UNKNOWN_HOST = "unknown_host"
    """The name does not exist, or has no address."""
    DNS = "dns"
    """The name could not be looked up now."""
    DEAD_HOST = "dead_host"
    """Not tried: the host did not answer several times in a row, shortly before."""
    HOST_BUSY = "host_busy"
    """The host's turn did not come in time, or it asked for a longer pause than there is time."""
    CONNECT = "connect"
    """No connection."""
    TLS = "tls"
    """The TLS handshake failed."""
    CERTIFICATE = "certificate"
    """The host's certificate is not to be trusted."""
    TIMEOUT = "timeout"
    """The deadline of the URL passed."""
    DISCONNECTED = "disconnected"
    """The connection broke before or during the answer."""
    TRUNCATED = "truncated"
    """Fewer bytes came than were announced."""
    BAD_ANSWER = "bad_answer"
    """What came is no HTTP."""
    BAD_REDIRECT = "bad_redirect"
    """Too many redirects, in a circle, or to nothing that may be fetched."""
    CONTENT_CODING = "content_coding"
    """The content's coding (gzip, deflate, br) is broken or unknown."""
    TOO_LARGE = "too_large"
    """More bytes than allowed, after decoding."""
    EMPTY = "empty"
    """An answer without content."""
    FORBIDDEN = "http_403"
    NOT_FOUND = "http_404"
    """404 or 410."""
    TOO_MANY_REQUESTS = "http_429"
    HTTP_4XX = "http_4xx"
    """Any other 4xx, and statuses that mean nothing here."""
    HTTP_5XX = "http_5xx"
    ROBOTS_TXT = "opt_out_robots_txt"
    """Not fetched: robots.txt of the host disallows it."""
    ROBOTS_UNREACHABLE = "robots_unreachable"
    """Not fetched: robots.txt answers with a server error, which forbids all (RFC 9309)."""
    X_ROBOTS_TAG = "opt_out_x_robots_tag"
    """Left out: a header of the answer says noai or its like."""
    TDM_RESERVATION = "opt_out_tdm_reservation"
    """Left out: rights are reserved by the TDM Reservation Protocol."""
    OTHER = "other"
    """Anything else the HTTP client reports."""

    @property
    def is_transient(self) -> bool:
        """True where another try, later, may succeed. Raises nothing."""
        return self in _TRANSIENT

    @property
    def is_opt_out(self) -> bool:
        """True where the owner does not want it fetched or used. Raises nothing."""
        return self in _OPT_OUT


_TRANSIENT = frozenset(
    {
        Failure.DNS,
        Failure.DEAD_HOST,
        Failure.HOST_BUSY,
        Failure.CONNECT,
        Failure.TLS,
        Failure.TIMEOUT,
        Failure.DISCONNECTED,
        Failure.TRUNCATED,
        Failure.TOO_MANY_REQUESTS,
        Failure.HTTP_5XX,
        Failure.ROBOTS_UNREACHABLE,
    }
)
_OPT_OUT = frozenset({Failure.ROBOTS_TXT, Failure.X_ROBOTS_TAG, Failure.TDM_RESERVATION})


def of_status(status: int) -> Failure | None:
    """Class of an HTTP status.

    Args:
        status: the status of an answer that is no redirect to be followed.

    Returns:
        None for 2xx.

    Raises:
        Nothing.
    """
    if 200 <= status < 300:
        return None
    if status >= 500:
        return Failure.HTTP_5XX
    return _BY_STATUS.get(status, Failure.HTTP_4XX)


_BY_STATUS = {
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    408: Failure.TIMEOUT,
    410: Failure.NOT_FOUND,
    425: Failure.TOO_MANY_REQUESTS,
    429: Failure.TOO_MANY_REQUESTS,
}
