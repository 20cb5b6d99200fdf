"""Checksums of downloaded files: computed for a column, or compared with one of the list."""

import hashlib
from typing import Literal

DigestKind = Literal["md5", "sha256", "sha512"]


def digest(content: bytes, kind: DigestKind) -> str:
    """Compute a checksum.

    Args:
        content: the file as it was downloaded.
        kind: which one.

    Returns:
        Lower-case hexadecimal digits.

    Raises:
        Nothing.
    """
    return hashlib.new(kind, content, usedforsecurity=False).hexdigest()


def matches(computed: str, listed: object) -> bool:
    """Compare a checksum with what a list says.

    Args:
        computed: what `digest` gave.
        listed: the list's value: hexadecimal text in either case, or the raw bytes.

    Returns:
        Whether they are the same; False for a value that is no checksum, such as None.

    Raises:
        Nothing.
    """
    if isinstance(listed, bytes):
        return listed.hex() == computed or listed.strip().lower() == computed.encode()
    return isinstance(listed, str) and listed.strip().lower() == computed
