"""Edits: new members for the samples of one shard, from loose files or from one tar.

Edits are indexed by a hash of their sample's key, in a few dozen bytes each, and opened when
their sample comes by. Whether an edit is taken is the stage's matter.
"""

import os
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from hpcpipe.errors import BadInputError
from hpcpipe.formats.edit_origins import Edit, Origin
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import split_key


class Edits:
    """The edits of one shard; a context manager.

    Attributes:
        path: folder or tar, for messages.
    """

    def __init__(self, origin: Origin) -> None:
        """Index what there is.

        Args:
            origin: folder or tar; closed with this object.

        Raises:
            BadInputError: it cannot be read, or is a damaged tar.
            OSError: reading failed.
        """
        self.path = origin.path
        self._origin = origin
        extensions: dict[str, int] = {}
        hashes, numbers, offsets, sizes = array("Q"), array("I"), array("q"), array("q")
        self._num_strays = 0
        for name, offset, size in origin.names():
            split = split_key(name) if offset >= 0 else None
            if split is None:
                self._num_strays += 1
                continue
            hashes.append(_hash(split[0]))
            numbers.append(extensions.setdefault(split[1], len(extensions)))
            offsets.append(offset)
            sizes.append(size)
        self._extensions = list(extensions)
        order = np.argsort(np.asarray(hashes), kind="stable")
        self._hashes: npt.NDArray[np.uint64] = np.asarray(hashes)[order]
        del hashes  # a tar may hold millions of edits: keep one copy of each column
        self._numbers: npt.NDArray[np.uint32] = np.asarray(numbers)[order]
        del numbers
        self._offsets: npt.NDArray[np.int64] = np.asarray(offsets)[order]
        del offsets
        self._sizes: npt.NDArray[np.int64] = np.asarray(sizes)[order]
        self._is_matched = np.zeros(len(order), bool)

    @property
    def num_read(self) -> int:
        """Bytes of edits read so far."""
        return self._origin.num_read

    def find(self, keys: Sequence[str]) -> list[dict[str, Edit] | None]:
        """Look up the edits of samples, and note that these samples exist.

        Args:
            keys: sample keys.

        Returns:
            For each key its edits by extension in lower case, in the order of extensions, or
            None where it has none.

        Raises:
            BadInputError: an edit is there twice.
        """
        hashes = np.array([_hash(key) for key in keys], np.uint64)
        first = np.searchsorted(self._hashes, hashes, "left")
        last = np.searchsorted(self._hashes, hashes, "right")
        found: list[dict[str, Edit] | None] = [None] * len(keys)
        for index in np.flatnonzero(first < last).tolist():
            found[index] = self._edits(keys[index], int(first[index]), int(last[index]))
        return found

    def unmatched(self) -> list[str]:
        """Tell which edits belong to no sample that was looked up.

        Returns:
            Keys that matched nothing, and files that are no member of a sample (links too), in the
            order in which they are found.

        Raises:
            BadInputError: the edits cannot be read any more.
            OSError: reading failed.
        """
        left = set(self._hashes[~self._is_matched].tolist())
        if not left and not self._num_strays:
            return []
        found: dict[str, None] = {}
        for name, offset, _ in self._origin.names():
            split = split_key(name) if offset >= 0 else None
            if split is None or _hash(split[0]) in left:
                found[name if split is None else split[0]] = None
        return list(found)

    def open(self, edit: Edit) -> tuple[int, int, int]:
        """Open an edit's content.

        Args:
            edit: one that `find` gave.

        Returns:
            Descriptor, offset and size in bytes; to be given back with `release`.

        Raises:
            BadInputError: it is gone, may not be read, or is no regular file any more.
            OSError: reading failed.
        """
        return self._origin.open(edit)

    def release(self, fd: int) -> None:
        """Take back a descriptor that `open` gave. Raises OSError."""
        self._origin.release(fd)

    def read(self, edit: Edit) -> bytes:
        """Read an edit whole.

        Args:
            edit: one that `find` gave.

        Returns:
            Its content.

        Raises:
            BadInputError: as for `open`.
            OSError: reading failed.
        """
        fd, offset, size = self.open(edit)
        try:
            return os.pread(fd, size, offset)
        finally:
            self.release(fd)

    def close(self) -> None:
        """Close what is open. Raises OSError."""
        self._origin.close()

    def __enter__(self) -> "Edits":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _edits(self, key: str, first: int, last: int) -> dict[str, Edit]:
        self._is_matched[first:last] = True
        edits: dict[str, Edit] = {}
        for row in range(first, last):
            extension = self._extensions[self._numbers[row]]
            offset, size = int(self._offsets[row]), int(self._sizes[row])
            edit = Edit(f"{key}.{extension}", extension, offset, size)
            if edits.setdefault(extension.lower(), edit) is not edit:
                raise BadInputError(
                    f"{display(self.path)}: two edits for {edit.name!r}; take one away"
                )
        return dict(sorted(edits.items())) if len(edits) > 1 else edits


def _hash(key: str) -> int:
    """Hash a key; tars made of ``.`` have ``./`` in front of every name, their edits need not."""
    return xxhash.xxh3_64_intdigest(key.removeprefix("./").encode("utf-8", "surrogateescape"))
