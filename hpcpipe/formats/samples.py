"""Samples: how member names split into key and extension, and members into samples.

The rules are webdataset's own, so that a dataset means the same to both. Contents are not looked
at.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
import xxhash

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import Member

Duplicates = Literal["error", "first", "rename"]

# Source: webdataset's tariterators, base_plus_ext and tar_file_iterator. The key is everything up
# to the first dot of the last path component; names like __meta__ or __dir__/x hold no sample.
_KEY_AND_EXTENSION = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$").match
_META = re.compile(r"__[^/]*__($|/)").match

IMAGE_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jxl")
)
"""Extensions, in lower case, that make a member its sample's image."""
MAX_JSON_BYTES = 64 << 20
"""Larger ones are refused: they would be read into memory whole."""


def split_key(name: str) -> tuple[str, str] | None:
    """Split a member name into sample key and extension.

    Args:
        name: full member name.

    Returns:
        The key (with folders) and the extension as written (it may hold dots; webdataset lowers
        its case), or None where webdataset passes the member over.

    Raises:
        Nothing.
    """
    match = _KEY_AND_EXTENSION(name)
    if match is None or (name[:2] == "__" and _is_meta(name)):
        return None
    return match[1], match[2]


def _is_meta(name: str) -> bool:
    return _META(name) is not None or ("/" not in name and name.endswith("__"))


class Sample(msgspec.Struct):
    """Neighbouring members that share a key.

    Attributes:
        key: its key; where equal keys are renamed, the new one. None for entries in front of the
            first sample that belong to none.
        members: its members in order, also the entries among and behind them that belong to no
            sample (links, folders, names webdataset passes over).
        extensions: for each member its extension in lower case; None where it belongs to no sample.
        renamed_from: the key in the tar, where that was renamed.
        repeats: True for what the policy "first" leaves out: a later sample with an equal key, or
            a later member with an equal name.
    """

    key: str | None
    members: list[Member]
    extensions: list[str | None]
    renamed_from: str | None = None
    repeats: bool = False

    def name_of(self, member: Member) -> str:
        """Full name of one of its members under `key`. Raises nothing."""
        if self.renamed_from is None or self.key is None:
            return member.name
        return self.key + member.name[len(self.renamed_from) :]


def group(members: Iterable[Member], path: str, duplicates: Duplicates) -> Iterator[Sample]:
    """Gather members into samples, in order.

    Args:
        members: the entries of one tar.
        path: the tar, for messages.
        duplicates: what to do about a key that comes again after other samples, or a member that
            its sample has already: ``error``, ``first`` (later ones are marked `repeats`) or
            ``rename`` (later ones become samples with ``-2``, ``-3``, ... behind the key).

    Yields:
        Samples; entries of no sample come with the sample in front of them.

    Raises:
        BadInputError: equal keys or names under the policy ``error``.
    """
    seen = _SeenKeys()
    sample: Sample | None = None
    current_key: str | None = None
    for member in members:
        split = split_key(member.name) if member.type == b"0" else None
        if split is None:
            if sample is None:
                yield Sample(None, [member], [None])
            else:
                sample.members.append(member)
                sample.extensions.append(None)
            continue
        key, extension = split[0], split[1].lower()
        is_again = False
        if sample is not None:
            is_again = key == current_key
            if is_again and extension not in sample.extensions:
                sample.members.append(member)
                sample.extensions.append(extension)
                continue
            if is_again and duplicates == "first":
                yield Sample(key, [member], [extension], repeats=True)
                continue
            yield sample
        current_key = key
        sample = Sample(key, [member], [extension])
        if seen.add(key):
            _settle(sample, key, seen, path, duplicates, is_again)
    if sample is not None:
        yield sample


def _settle(
    sample: Sample, key: str, seen: "_SeenKeys", path: str, duplicates: Duplicates, is_again: bool
) -> None:
    """Apply the policy to a sample whose key was seen before."""
    if duplicates == "rename":
        number = 2
        while seen.add(f"{key}-{number}"):
            number += 1
        sample.key, sample.renamed_from = f"{key}-{number}", key
    elif duplicates == "first":
        sample.repeats = True
    else:
        member = sample.members[0]
        what = (
            f"the member {member.name!r} at byte {member.start} is in its sample twice"
            if is_again
            else f"the key {key!r} comes again at byte {member.start} after other samples (equal "
            "keys, or members of one sample that are not next to each other)"
        )
        raise BadInputError(
            f"{display(path)}: {what}; stage.duplicates=first keeps the first, "
            "stage.duplicates=rename keeps both"
        )


class _SeenKeys:
    """The keys of one tar as 64-bit hashes in an open-addressing table, about 12 bytes each."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._num_keys = 0

    def add(self, key: str) -> bool:
        """Add a key; True when it was there already."""
        digest = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogateescape")) or 1
        if not self._put(digest):
            return True
        self._num_keys += 1
        if self._num_keys * 5 > len(self._table) * 4:
            old = self._table
            self._table = array("Q", bytes(8 * (len(old) * 3 // 2)))
            for other in old:
                if other:
                    self._put(other)
        return False

    def _put(self, digest: int) -> bool:
        table = self._table
        place = digest % len(table)
        while other := table[place]:
            if other == digest:
                return False
            place = (place + 1) % len(table)
        table[place] = digest
        return True


def read_json(source: Source, member: Member) -> bytes:
    """Read the json of a sample, whole.

    Args:
        source: its tar.
        member: the json's.

    Returns:
        Its bytes.

    Raises:
        BadInputError: it is too large to be the json of a sample.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    if member.size > MAX_JSON_BYTES:
        raise BadInputError(
            f"{display(source.path)}: a sample's json at byte {member.data} has {member.size} "
            f"bytes, more than {MAX_JSON_BYTES}: no json of a sample"
        )
    return source.read_at(member.data, member.size)
