"""Which edit stands in for which member of a sample, and when a json is no edit at all.

Decides only; finding edits is in ``formats.edits``, writing them in ``_overlay_write``.
"""

import json

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.formats.edit_origins import Edit
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import IMAGE_EXTENSIONS, Sample

_SPELLINGS = {"jpeg": "jpg", "tiff": "tif"}

_encode = msgspec.json.Encoder(order="deterministic").encode


def place_edits(
    sample: Sample, edits: dict[str, Edit], path: str
) -> tuple[dict[int, Edit], list[Edit]]:
    """Match the edits of a sample to its members.

    An edit replaces the member of the same extension, else the one whose extension is another
    spelling of it (``jpeg`` for ``jpg``), else an image replaces the one image of another type
    (``jpg`` for ``webp``, ``mask.jpg`` for ``mask.png``), else it is new.

    Args:
        sample: the sample.
        edits: its edits by extension in lower case.
        path: the tar, for messages.

    Returns:
        Edits by the position of the member they replace, and new ones.

    Raises:
        BadInputError: an image could replace more than one member.
    """
    own = sample.extensions
    replaced = {own.index(name): edit for name, edit in edits.items() if name in own}
    added = []
    for extension, edit in edits.items():
        if extension in own:
            continue
        images = _images_like(extension, sample, edits)
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


def new_extension(extension: str, edit: Edit | None) -> str:
    """Tell what extension a member has once an edit has taken its place.

    Args:
        extension: the member's, in lower case.
        edit: what replaces it, if anything.

    Returns:
        Its own where the edit is of the same format, however spelled; else the edit's as written.

    Raises:
        Nothing.
    """
    if edit is None or _format(edit.extension.lower()) == _format(extension):
        return extension
    return edit.extension


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


def _images_like(extension: str, sample: Sample, edits: dict[str, Edit]) -> list[int]:
    """Members an image may replace: the one of its format, else those that have no edit."""
    others = [(index, other) for index, other in enumerate(sample.extensions) if other]
    same = [index for index, other in others if _format(other) == _format(extension)]
    slot = _image_slot(extension)
    if same or slot is None:
        return same
    return [i for i, other in others if other not in edits and _image_slot(other) == slot]


def _format(extension: str) -> str:
    """An extension in its one spelling: ``jpg`` for ``jpeg``."""
    stem, dot, last = extension.rpartition(".")
    return stem + dot + _SPELLINGS.get(last, last)


def _image_slot(extension: str | None) -> str | None:
    """What stands before an image's type: "" for jpg, "mask." for mask.png; None for no image."""
    stem, dot, last = (extension or "").rpartition(".")
    return stem + dot if last in IMAGE_EXTENSIONS else None
