"""Captions or prompts of one shard as one JSON file, the way FairCLIP's pipeline keeps them.

The file is an object with one pair a sample: the name of the sample's json, and the caption on one
line: ``{"0a1b-0.json": "a photo of a nurse"}``, indented by 4, ASCII only.

Beside it may lie ``SHARD.meta.jsonl``, a line a caption: how it was made.
"""

import json
from collections.abc import Mapping
from typing import Any

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source

CAPTIONS_SUFFIX = ".json"
NOTES_SUFFIX = ".meta.jsonl"
_MAX_BYTES = 1 << 30
_NOTED = ("model", "choices", "seed")
"""What is taken over of the lines that ``rewrite_captions`` writes."""


def encode_captions(captions: Mapping[str, str]) -> bytes:
    """Write captions as such a file.

    Args:
        captions: caption by sample key, in the order in which they are to stand.

    Returns:
        The file's bytes.

    Raises:
        Nothing.
    """
    named = {f"{key}{CAPTIONS_SUFFIX}": one_line(caption) for key, caption in captions.items()}
    return json.dumps(named, indent=4).encode()


def one_line(text: str) -> str:
    """Put a caption on one line: every line break becomes one space. Raises nothing."""
    return " ".join(text.splitlines())


def read_captions_file(source: Source) -> bytes:
    """Read a file of captions, or of how they were made, whole.

    Args:
        source: the file.

    Returns:
        Its bytes.

    Raises:
        BadInputError: it is too large to be one shard's.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    if source.size_bytes > _MAX_BYTES:
        raise BadInputError(
            f"{display(source.path)} has {source.size_bytes} bytes, more than {_MAX_BYTES}: no "
            "file of one shard's captions"
        )
    return source.read_at(0, source.size_bytes)


def decode_captions(content: bytes, path: str) -> dict[str, str]:
    """Read such a file.

    Args:
        content: its bytes.
        path: its path or URL, for messages.

    Returns:
        Caption by sample key, in the file's order.

    Raises:
        BadInputError: it is something else; the message says what.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{display(path)}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadInputError(
            f"{display(path)}: expected an object of captions by name, found {type(found).__name__}"
        )
    for name, caption in found.items():
        if not isinstance(caption, str):
            raise BadInputError(
                f"{display(path)}: the caption of {name!r} is {type(caption).__name__}, not text"
            )
    return {name.removesuffix(CAPTIONS_SUFFIX): caption for name, caption in found.items()}


def decode_notes(content: bytes, path: str) -> dict[str, dict[str, Any]]:
    """Read how captions were made.

    Args:
        content: bytes of ``SHARD.meta.jsonl``.
        path: its path or URL, for messages.

    Returns:
        By key what is noted of the caption's making: model, choices and seed, where they are.

    Raises:
        BadInputError: a line is something else.
    """
    notes: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            note = json.loads(line)
            notes[note["key"]] = {name: note[name] for name in _NOTED if name in note}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadInputError(
                f"{display(path)}: line {number} is no note of a prompt: {error}"
            ) from error
    return notes
