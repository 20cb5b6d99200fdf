"""What a store's failure means: an object is at fault, the store is, or nobody knows.

Every store's client has exceptions of its own. None is imported here: they are told by their names,
and by the HTTP status and error code that they carry.
"""

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Any

from hpcpipe.errors import BadInputError, HpcPipeError, OutageError, TransientShardError, causes
from hpcpipe.formats.remote import display

_SECRET_PARTS = re.compile(r"(?<=://)[^/@\s]*@|(?<=[^\s])\?[^\s'\"]*=[^\s'\"]*")
_UNREACHABLE = (ConnectionError, TimeoutError, socket.gaierror)
_UNREACHABLE_NAMES = frozenset(
    {
        *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
        *("ConnectionError", "HTTPClientError"),  # botocore, and the first requests
    }
)
_NO_CREDENTIALS_NAMES = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        *("TokenRetrievalError", "SSOError", "LoginError"),
    }
)
_NO_CREDENTIALS_CODES = frozenset(
    {
        *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired"),
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    }
)
_DOWN_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


@contextlib.contextmanager
def outages(path: str) -> Iterator[None]:
    """Tell of a store that is down as such, and pass every other error on.

    Args:
        path: URL named in the message.

    Raises:
        OutageError: the store cannot be reached, is not well, or takes the credentials no more.
    """
    try:
        yield
    except HpcPipeError:
        raise
    except Exception as error:  # every store's client has exceptions of its own
        why = _why_down(error)
        if why:
            raise OutageError(f"{display(path)} {why}: {worded_safely(error)}") from error
        raise


@contextlib.contextmanager
def remote_errors(path: str) -> Iterator[None]:
    """Turn a store's errors into ours.

    Args:
        path: URL named in the message.

    Raises:
        BadInputError: the object does not exist or may not be read.
        OutageError: as for `outages`.
        TransientShardError: any other failure of the store or the network.
    """
    where = display(path)
    try:
        with outages(path):
            yield
    except FileNotFoundError as error:
        raise BadInputError(f"{where} does not exist") from error
    except PermissionError as error:
        raise BadInputError(f"{where} may not be read: {error.strerror or error}") from error
    except HpcPipeError:
        raise
    except Exception as error:
        raise TransientShardError(f"{where} could not be read: {worded_safely(error)}") from error


def worded_safely(error: BaseException) -> str:
    """Write class and message of an exception without what may be a secret.

    Args:
        error: any exception of a store's client.

    Returns:
        Text for people.

    Raises:
        Nothing.
    """
    return f"{type(error).__name__}: {_SECRET_PARTS.sub('', str(error))}"


def _why_down(error: BaseException) -> str:
    """How a store is down, from an error or what caused it; "" where it is not known to be."""
    for one in causes(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        status, code = _answer(one)
        if names & _NO_CREDENTIALS_NAMES or code in _NO_CREDENTIALS_CODES or status == 401:
            return "does not take the credentials"
        if status in _DOWN_STATUSES:
            return "is not well"
        if isinstance(one, _UNREACHABLE) or names & _UNREACHABLE_NAMES:
            return "cannot be reached"
    return ""


def _answer(error: Any) -> tuple[int, str]:
    """HTTP status and error code that an exception carries: botocore's, else aiohttp's."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status, response.get("Error", {}).get("Code", "")
    status = getattr(error, "status", 0)
    return (status if isinstance(status, int) else 0), ""
