"""One sample of a tar: its json, caption and image's place, or why it cannot be judged."""

import json
from dataclasses import dataclass
from typing import Any

from hpcpipe.formats.samples import IMAGE_EXTENSIONS, MAX_JSON_BYTES, Sample
from hpcpipe.formats.selected import Face
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import Member

_MAX_DEPTH = 100
"""Of a json: what is read here is written, and read again further up the stack of later steps."""
LEFT_OUT, FAILED = "left_out", "failed"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A sample that may be selected.

    Attributes:
        key: its key.
        caption: its caption, as it stands in the tar.
        json: its json; None where it has none.
        image: extension of its image; "" where it has none.
        offset_bytes: where the image's content begins.
        size_bytes: of the image's content.
    """

    key: str
    caption: str
    json: dict[str, Any] | None
    image: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class LeftOut:
    """A sample that was not selected.

    Attributes:
        key: its key.
        status: `LEFT_OUT`, or `FAILED` where something is wrong with it. Counters are called so.
        reason: class of what kept it from being selected.
        message: what is wrong in words; None where the class says it all.
        faces: those that were found and are too small.
        offset_bytes: where its image's content begins in the uncompressed tar.
        size_bytes: of the image's content; 0 where it was not looked at, or has none.
    """

    key: str
    status: str
    reason: str
    message: str | None = None
    faces: tuple[Face, ...] = ()
    offset_bytes: int = 0
    size_bytes: int = 0


def read_candidate(source: Source, sample: Sample, key: str) -> Candidate | LeftOut:
    """Read what a sample says of itself; its image is not read.

    Args:
        source: its tar.
        sample: the sample.
        key: its key.

    Returns:
        The sample, or what is wrong with it.

    Raises:
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    if sample.repeats:
        return LeftOut(key, LEFT_OUT, "repeated_key")
    members = dict(zip(sample.extensions, sample.members, strict=True))
    try:
        record = _read_record(source, members.get("json"))
        caption = record.get("caption") if record is not None else None
        if not isinstance(caption, str) or not caption.strip():
            caption = _read_text(source, members.get("txt"))
    except _Bad as bad:
        return LeftOut(key, FAILED, bad.args[0], bad.args[1])
    if not caption.strip():
        return LeftOut(key, LEFT_OUT, "no_caption")
    image = next((one for one in sample.extensions if one in IMAGE_EXTENSIONS), None)
    return Candidate(
        key=key,
        caption=caption,
        json=record,
        image=image or "",
        offset_bytes=members[image].data if image else 0,
        size_bytes=members[image].size if image else 0,
    )


class _Bad(Exception):
    """A class of failure, and what is wrong in words."""


def _read_record(source: Source, member: Member | None) -> dict[str, Any] | None:
    if member is None:
        return None
    if member.size > MAX_JSON_BYTES:
        raise _Bad("bad_json", f"it has {member.size} bytes, more than {MAX_JSON_BYTES}")
    content = source.read_at(member.data, member.size)
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Bad("bad_json", f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _Bad("bad_json", f"it is {type(record).__name__}, not an object")
    if content.count(b"[") + content.count(b"{") > _MAX_DEPTH and _depth(record) > _MAX_DEPTH:
        raise _Bad("bad_json", f"it is nested more than {_MAX_DEPTH} deep")
    return record


def _depth(record: Any) -> int:
    """How deep objects and lists are nested."""
    depth, level = 0, [record]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    return depth


def _read_text(source: Source, member: Member | None) -> str:
    if member is None:
        return ""
    if member.size > MAX_JSON_BYTES:
        raise _Bad("bad_txt", f"it has {member.size} bytes, more than {MAX_JSON_BYTES}")
    try:
        return source.read_at(member.data, member.size).decode()
    except UnicodeDecodeError as error:
        raise _Bad("bad_txt", f"not UTF-8: {error}") from error
