"""What goes into the fetcher and what comes out of it."""

from typing import NamedTuple

import msgspec

from hpcpipe.clients.failure import Failure


class Request(msgspec.Struct, frozen=True):
    """One URL to be fetched.

    Attributes:
        index: whatever number tells the caller which one it was.
        url: as it stands in the list.
    """

    index: int
    url: str


class Fetched(msgspec.Struct, frozen=True):
    """What became of one request.

    Attributes:
        index: the request's.
        url: the request's.
        final_url: where redirects led; the URL itself, cleaned, where there were none, and "" for
            one that is no URL.
        failure: None where `content` is the file.
        error: what happened, in words; "" without a failure.
        http_status: status of the last answer; 0 where none came.
        content_type: the header, as it came; "" where there is none.
        content: the file, content coding undone; empty with a failure.
        num_bytes: bytes received, of content and after decoding, also with a failure.
        seconds: from its first look-up or transfer to the end, redirects and tries included;
            waiting for its turn at the host is not.
        num_tries: transfers begun, not counting redirects; 0 where it never came to one.
    """

    index: int
    url: str
    final_url: str
    failure: Failure | None
    error: str
    http_status: int
    content_type: str
    content: bytes
    num_bytes: int
    seconds: float
    num_tries: int


class HostStats(NamedTuple):
    """What was seen of one host.

    Attributes:
        host: ``name:port``.
        num_requests: transfers that ended.
        num_failures: those of them that failed.
        mean_s: seconds a transfer took on average.
    """

    host: str
    num_requests: int
    num_failures: int
    mean_s: float
