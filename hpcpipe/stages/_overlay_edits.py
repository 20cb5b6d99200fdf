"""Which edit stands in for which member of a sample, and when a json is no edit at all."""

import json

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.formats.edit_origins import Edit
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import Sample

IMAGE_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jxl")
)

_encode = msgspec.json.Encoder(order="deterministic").encode


def place_edits(
    sample: Sample, edits: dict[str, Edit], path: str
) -> tuple[dict[int, Edit], list[Edit]]:
    """Match the edits of a sample to its members.

    An edit replaces the member of the same extension, else an image replaces the one image of
    another type (``jpg`` for ``webp``, ``mask.jpg`` for ``mask.png``), else it is new.

    Args:
        sample: the sample.
        edits: its edits by extension in lower case.
        path: the tar, for messages.

    Returns:
        Edits by the position of the member they replace, and new ones.

    Raises:
        BadInputError: an image could replace more than one member.
    """
    replaced: dict[int, Edit] = {}
    added = []
    for extension, edit in edits.items():
        if extension in sample.extensions:
            replaced[sample.extensions.index(extension)] = edit
            continue
        slot = _image_slot(extension)
        images = [
            index
            for index, other in enumerate(sample.extensions)
            if slot is not None and other not in edits and _image_slot(other) == slot
        ]
        if len(images) > 1 or (images and images[0] in replaced):
            raise BadInputError(
                f"{display(path)}: it is not clear which image the edit {edit.name!r} replaces: "
                f"the sample has {', '.join(e for e in sample.extensions if e)}, its edits "
                f"{', '.join(edits)}"
            )
        if images:
            replaced[images[0]] = edit
        else:
            added.append(edit)
    return replaced, added


def is_equal_json(old: bytes, new: bytes) -> bool:
    """Compare two json texts by what they say.

    Args:
        old: a text.
        new: another.

    Returns:
        True where bytes or parsed values are equal; ``1``, ``1.0`` and ``true`` differ, the order
        of keys does not matter.

    Raises:
        Nothing.
    """
    if old == new:
        return True
    before, after = parse_json(old), parse_json(new)
    if before is None or after is None or before != after:
        return False
    return _encode(before) == _encode(after)


def parse_json(text: bytes) -> object:
    """Parse a json text, with Python's NaN and Infinity too.

    Args:
        text: the text.

    Returns:
        What it says, or None where it is no json.

    Raises:
        Nothing.
    """
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None


def _image_slot(extension: str | None) -> str | None:
    """What stands before an image's type: "" for jpg, "mask." for mask.png; None for no image."""
    stem, dot, last = (extension or "").rpartition(".")
    return stem + dot if last in IMAGE_EXTENSIONS else None
