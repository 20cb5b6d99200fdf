"""URLs as they stand in lists, made into what may be asked for; asks nobody.

A URL is taken apart once and put together again from checked parts, so that the address check,
the opt-out rules and the HTTP client all speak of the same host.
"""

import re
import socket
from typing import NamedTuple
from urllib.parse import quote, urljoin

MAX_URL_CHARS = 8192

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\]+)"
    r"(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>[/?][^#]*)?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_-])?\.?")
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", re.DOTALL)
_UNSAFE = re.compile(r"[^!#-;=?-\[\]_a-z~]")
_PORTS = {"http": 80, "https": 443}


class BadUrlError(ValueError):
    """A text that cannot be fetched; its message says why."""


class Url(NamedTuple):
    """A URL in parts.

    Attributes:
        text: all of it, without fragment, in ASCII.
        origin: ``scheme://host:port`` without a default port.
        host: name in ASCII and lower case, IPv4 address, or IPv6 address without brackets.
        port: explicit or the scheme's.
        path: with the query; begins with ``/``.
    """

    text: str
    origin: str
    host: str
    port: int
    path: str


def parse_url(text: str) -> Url:
    """Take a URL apart and check it.

    Args:
        text: as it stands in a list or header; blanks around it are dropped, what does not
            belong in a URL is percent-encoded.

    Returns:
        Its parts.

    Raises:
        BadUrlError: it is no http or https URL, or names a user.
    """
    if len(text) > MAX_URL_CHARS:
        raise BadUrlError(f"a URL of {len(text)} characters")
    match = _URL.fullmatch(text.strip())
    if not match:
        raise BadUrlError(_what_is_wrong(text))
    scheme, host, port_text, path = match.groups()
    scheme = scheme.lower()
    host = _checked_host(host.lower())
    port = int(port_text) if port_text else _PORTS[scheme]
    if not 0 < port < 65536:
        raise BadUrlError(f"port {port}")
    path = _checked_path(path or "/")
    shown = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{shown}" if port == _PORTS[scheme] else f"{scheme}://{shown}:{port}"
    return Url(origin + path, origin, host, port, path)


def join_url(base: Url, location: str) -> Url:
    """Follow a ``Location`` header.

    Args:
        base: where it came from.
        location: absolute or relative.

    Returns:
        Where it leads.

    Raises:
        BadUrlError: not to an http or https URL.
    """
    try:
        return parse_url(urljoin(base.text, location.strip()))
    except BadUrlError:
        raise
    except ValueError as error:
        raise BadUrlError(str(error)) from error


def _checked_path(path: str) -> str:
    if path[0] == "?":
        path = "/" + path
    if _UNSAFE.search(path):
        path = quote(path, safe="!#$%&'()*+,-./:;=?@[]_~", errors="replace")
    if "/." in path or "/%2e" in path.lower():
        path = _without_dots(path)
    return path


def _without_dots(path: str) -> str:
    """Resolve ``.`` and ``..``, which the HTTP client would do after the rules were asked."""
    path, mark, query = path.partition("?")
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        dots = segment.lower().replace("%2e", ".")
        if dots == "..":
            del kept[-1:]
        if dots not in (".", ".."):
            kept.append(segment)
    ends_in_dots = dots in (".", "..")
    return "/" + "/".join(kept) + ("/" if ends_in_dots and kept else "") + mark + query


def _checked_host(host: str) -> str:
    if host[0] == "[":
        try:
            return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host[1:-1]))
        except OSError as error:
            raise BadUrlError(f"{host} is no IPv6 address") from error
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise BadUrlError(f"{host!r} is no host name") from error
    if not _HOST.fullmatch(host) or ".." in host:
        raise BadUrlError(f"{host!r} is no host name")
    host = host.rstrip(".")
    if _ENDS_IN_NUMBER.fullmatch(host):
        try:
            return socket.inet_ntoa(socket.inet_aton(host))  # 127.1, 0x7f000001 and their like
        except OSError as error:
            raise BadUrlError(f"{host!r} is neither an IPv4 address nor a host name") from error
    return host


def _what_is_wrong(text: str) -> str:
    if "@" in text.partition("//")[2].partition("/")[0]:
        return "the URL names a user"
    scheme, colon, _ = text.strip().partition(":")
    if colon and scheme.lower() not in _PORTS and re.fullmatch(r"[A-Za-z][\w+.-]{0,20}", scheme):
        return f"neither http nor https but {scheme.lower()}"
    return "no http or https URL"
