"""One request to one server: its whole answer, or one `LlmError`. Knows no other server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpcpipe.clients.llm_api import error_text
from hpcpipe.clients.llm_failure import DISCONNECTED, Blame, LlmError, of_status

if TYPE_CHECKING:
    import aiohttp

_MAX_ERROR_BYTES = 64 << 10
_CONNECT_S = 10.0
_KEEP_S = 3.0
"""Shorter than servers keep idle connections open, so that none closes under a request."""


def session(key: str | None) -> aiohttp.ClientSession:
    """Open a session.

    Args:
        key: API key; None to send none.

    Returns:
        The session, to be used in an ``async with``.

    Raises:
        Nothing.
    """
    import aiohttp

    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def exchange(
    session: aiohttp.ClientSession, url: str, body: bytes, timeout_s: float, max_bytes: int
) -> bytes:
    """Send a request and read its whole answer.

    Args:
        session: what `session` opened.
        url: where to.
        body: JSON.
        timeout_s: for everything together.
        max_bytes: longer answers are given up.

    Returns:
        The answer's content.

    Raises:
        LlmError: there is none.
    """
    import aiohttp

    patience = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_S))
    try:
        async with session.post(url, data=body, timeout=patience, allow_redirects=False) as answer:
            if answer.ok and answer.status < 300:
                return await _read(session, answer, max_bytes)
            said = error_text(await _read(session, answer, _MAX_ERROR_BYTES))
            raise of_status(answer.status, said, _pause_s(answer.headers.get("Retry-After")))
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise LlmError("connect", f"no connection: {_in_short(error)}", Blame.SERVER) from error
    except TimeoutError as error:
        said = f"no answer within {timeout_s:g} s"
        raise LlmError("timeout", said, Blame.UNKNOWN) from error
    except aiohttp.ClientResponseError as error:
        said = f"the answer is no HTTP: {error.message[:200]}"
        raise LlmError("malformed", said, Blame.UNKNOWN) from error
    except (aiohttp.ClientError, OSError) as error:
        said = f"the connection broke: {error or type(error).__name__}"
        raise LlmError(DISCONNECTED, said[:200], Blame.UNKNOWN) from error


async def _read(
    session: aiohttp.ClientSession, answer: aiohttp.ClientResponse, max_bytes: int
) -> bytes:
    """What a server says, without the key that it was sent."""
    key = session.headers.get("Authorization", "").removeprefix("Bearer ").encode() or None
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > max_bytes:
            answer.close()
            break
    found = bytes(content) if key is None else content.replace(key, b"***")
    if len(content) > max_bytes:
        said = f"the answer has more than {max_bytes} bytes"
        raise LlmError("too_long", said, Blame.ANSWER, found[:500].decode("latin-1"))
    return bytes(found)


def _in_short(error: Exception) -> str:
    """Why there is no connection, without the address: who reads it has that beside it."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        number = error.os_error.errno or 0
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error)
    return str(error)


def _pause_s(header: str | None) -> float | None:
    """Seconds of a ``Retry-After``; dates, which nobody sends here, are passed over."""
    return float(header) if header is not None and header.strip().isdecimal() else None
