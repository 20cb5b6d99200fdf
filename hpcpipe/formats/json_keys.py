"""Streaming the entries of one large JSON list, or the keys of one large JSON mapping.

Memory is a few times the chunk size.
"""

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

CHUNK_BYTES = 1 << 20
MAX_VALUE_CHARS = 64 << 20
_SPACE = " \t\r\n"


class JsonKeysError(ValueError):
    """The text is not the JSON list or mapping that was expected."""


def iter_json_objects(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Read the objects of a JSON list.

    Args:
        stream: UTF-8 text.

    Yields:
        The objects, in order.

    Raises:
        JsonKeysError: it is something else, or malformed; the message names the character.
        OSError: reading failed.
    """
    text = _Text(stream)
    if (opening := text.peek()) != "[":
        raise JsonKeysError(
            f"expected a JSON list of objects, found {opening or 'nothing'!r}; a file with one "
            "object a line should end in .jsonl"
        )
    text.skip()
    if text.peek() == "]":
        return
    while True:
        entry = text.value()
        if not isinstance(entry, dict):
            raise JsonKeysError(f"expected an object before character {text.position}")
        yield entry
        if text.expect(",]") == "]":
            return


def iter_json_keys(stream: IO[bytes]) -> Iterator[str]:
    """Read the strings of a JSON list, or the keys of a JSON mapping; values are skipped.

    Args:
        stream: UTF-8 text.

    Yields:
        The strings, in order.

    Raises:
        JsonKeysError: it is something else, or malformed; the message names the character.
        OSError: reading failed.
    """
    text = _Text(stream)
    opening = text.peek()
    if opening not in ("[", "{"):
        raise JsonKeysError(f"expected a JSON list or mapping, found {opening or 'nothing'!r}")
    closing = "]" if opening == "[" else "}"
    text.skip()
    if text.peek() == closing:
        return
    while True:
        entry = text.value()
        if not isinstance(entry, str):
            raise JsonKeysError(
                f"expected a string before character {text.position}, found {_name(entry)}"
            )
        yield entry
        if opening == "{":
            text.expect(":")
            text.value()
        if text.expect("," + closing) == closing:
            return


def _name(entry: object) -> str:
    if isinstance(entry, dict):
        return "an object: give the keys or uids alone, or one object a line in a .jsonl"
    if isinstance(entry, list):
        return "a list: give the keys or uids alone"
    return "a number" if isinstance(entry, int | float) else "null"


class _Text:
    """A window on the text that grows at its end when a value does not fit."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._parse = json.JSONDecoder().raw_decode
        self._window = ""
        self._at = 0
        self._passed = 0
        self._ended = False

    @property
    def position(self) -> int:
        return self._passed + self._at

    def _grow(self) -> bool:
        if self._ended:
            return False
        data = self._stream.read(max(CHUNK_BYTES, len(self._window)))
        self._ended = not data
        try:
            more = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            raise JsonKeysError(f"not UTF-8 after character {self.position}: {error}") from error
        self._passed += self._at
        self._window = self._window[self._at :] + more
        self._at = 0
        return True

    def peek(self) -> str:
        while True:
            while self._at < len(self._window):
                if self._window[self._at] not in _SPACE:
                    return self._window[self._at]
                self._at += 1
            if not self._grow():
                return ""

    def skip(self) -> None:
        self._at += 1

    def expect(self, accepted: str) -> str:
        found = self.peek()
        if not found or found not in accepted:
            raise JsonKeysError(
                f"expected {' or '.join(accepted)} at character {self.position}, "
                f"found {repr(found) if found else 'the end'}"
            )
        self.skip()
        return found

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._parse(self._window, self._at)
            except json.JSONDecodeError as error:
                if len(self._window) - self._at > MAX_VALUE_CHARS or not self._grow():
                    raise JsonKeysError(
                        f"{error.msg} at character {self._passed + error.pos}"
                    ) from error
                continue
            if end == len(self._window) and self._grow():
                continue  # a number may go on in what was read just now
            self._at = end
            return value
