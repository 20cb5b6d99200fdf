"""The head of an HTTP answer: its status, and the few headers that matter here."""

import email.utils
import re
import time

_SECONDS = re.compile(r"[0-9]{1,9}")
_KEPT = {
    name.encode(): name
    for name in (
        *("content-type", "content-length", "location", "retry-after"),
        *("x-robots-tag", "tdm-reservation"),
    )
}


class Head:
    """Status and headers of one answer.

    Attributes:
        status: HTTP status; 0 where there is none, or none yet but an interim one (100).
        headers: values by name in lower case, in order; only names that are used here.
    """

    __slots__ = ("headers", "status")

    def __init__(self, lines: list[bytes]) -> None:
        """Read the lines of a transfer.

        Args:
            lines: all that came, also of interim answers before the last one.

        Raises:
            Nothing.
        """
        self.status = 0
        self.headers: dict[str, list[str]] = {}
        for line in lines:
            if line[:5] == b"HTTP/":
                words = line.split(None, 2)
                status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
                self.status = status if status >= 200 else 0
                self.headers = {}
                continue
            name, _, value = line.partition(b":")
            if key := _KEPT.get(name.lower()):
                self.headers.setdefault(key, []).append(_text(value))

    def first(self, name: str) -> str:
        """Value of a header, the first of several; "" where there is none. Raises nothing."""
        values = self.headers.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        """Values of a header. Raises nothing."""
        return self.headers.get(name, [])

    def content_length(self) -> int:
        """Announced bytes of content, as it is sent; 0 where unknown. Raises nothing."""
        text = self.first("content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0

    def retry_after_s(self) -> float | None:
        """Seconds the host asks to wait; None where it does not ask. Raises nothing."""
        text = self.first("retry-after")
        if not text:
            return None
        if _SECONDS.fullmatch(text):
            return float(text)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None


def _text(value: bytes) -> str:
    value = value.strip()
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
