"""What libcurl's error codes mean for a URL.

The numbers are libcurl's own and never change: https://curl.se/libcurl/c/libcurl-errors.html
"""

from hpcpipe.clients.failure import Failure

_CLASSES: dict[Failure, tuple[int, ...]] = {
    Failure.BAD_URL: (3,),
    Failure.DNS: (5, 6),
    Failure.CONNECT: (7, 45, 97),
    Failure.BAD_ANSWER: (1, 8, 43, 100),
    Failure.TRUNCATED: (18,),
    Failure.TIMEOUT: (28,),
    Failure.TLS: (35,),
    Failure.DISCONNECTED: (16, 52, 55, 56, 81, 92),
    Failure.CERTIFICATE: (51, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91, 98),
    Failure.CONTENT_CODING: (61,),
    Failure.TOO_LARGE: (63,),
}
_BY_CODE = {code: failure for failure, codes in _CLASSES.items() for code in codes}


def of_curl(code: int) -> Failure:
    """Class of a failed transfer.

    Args:
        code: libcurl's, not 0.

    Returns:
        The class; `Failure.OTHER` for codes that say nothing of the URL.

    Raises:
        Nothing.
    """
    return _BY_CODE.get(code, Failure.OTHER)
