"""Samples that were selected from one tar, a line each: metadata, faces, and where the image lies.

Files are ``SHARD.jsonl``. A line is one `Selected` as JSON, so that later steps, and who looks,
need not read the tar again to find a sample.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display


@dataclass(frozen=True, kw_only=True)
class Face:
    """One face in an image.

    Attributes:
        box: left, top, right, bottom as parts of the image's width and height, 0 to 1.
        score: how sure the detector was, 0 to 1; None where metadata said so.
    """

    box: tuple[float, float, float, float]
    score: float | None


@dataclass(frozen=True, kw_only=True)
class Selected:
    """One sample that was selected.

    Attributes:
        key: its key.
        caption: its caption, as it stands in the tar.
        json: the sample's json, parsed.
        faces: its faces; none where it was not selected by faces.
        tar: path or URL of the tar it lies in.
        image: extension of its image, such as ``webp``; "" where it has none.
        offset_bytes: where the image's content begins in the uncompressed tar.
        size_bytes: of the image's content.
    """

    key: str
    caption: str
    json: dict[str, Any]
    faces: tuple[Face, ...]
    tar: str
    image: str
    offset_bytes: int
    size_bytes: int


def encode_selected(sample: Selected) -> bytes:
    """Write a sample as its line, with the line break. Raises nothing."""
    faces = [vars(face) for face in sample.faces]
    return json.dumps(vars(sample) | {"faces": faces}).encode() + b"\n"


def decode_selected(content: bytes, path: str) -> Iterator[Selected]:
    """Read such a file.

    Args:
        content: its bytes.
        path: its path or URL, for messages.

    Yields:
        Samples in the file's order.

    Raises:
        BadInputError: a line is something else.
    """
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            found = json.loads(line)
            faces = tuple(Face(box=tuple(x["box"]), score=x["score"]) for x in found.pop("faces"))
            yield Selected(faces=faces, **found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadInputError(
                f"{display(path)}: line {number} is no selected sample: {error}"
            ) from error
