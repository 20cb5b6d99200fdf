"""Which IP addresses are somebody's on the Internet, and which are special.

Source: the IANA registries of special-purpose IPv4 and IPv6 addresses. They are written down
here, since what Python's ``ipaddress`` calls global differs between its versions.
"""

import ipaddress
from functools import lru_cache

_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=65536)
def is_public(address: str) -> bool:
    """Tell whether an address is an ordinary one of the Internet.

    Args:
        address: IPv4 or IPv6, without port; a zone (``%eth0``) makes it local.

    Returns:
        False for private, loopback, link-local, multicast, documentation, reserved and tunnel
        addresses, and for what is no address. IPv4-mapped and NAT64 addresses count as the IPv4
        address in them.

    Raises:
        Nothing.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        inner = ip.ipv4_mapped
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip in _UNICAST_V6 and not any(ip in network for network in _SPECIAL_V6)
        ip = inner
    return not any(ip in network for network in _SPECIAL_V4)
