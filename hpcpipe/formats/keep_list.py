"""Keep lists: which samples to keep, by key or uid, whatever the size of the list.

A list is converted once, when a run is planned, into a sorted array of 128-bit ids, which the
workers map: a billion keys cost 16 GB of disk and next to no memory. The files that people have
are read by ``key_files``.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hpcpipe.errors import PlanError
from hpcpipe.formats.ids import ID_DTYPE, Array, hash_keys, hash_uids, sort_ids
from hpcpipe.formats.key_files import guess_field, read_list
from hpcpipe.formats.listing import list_location
from hpcpipe.formats.remote import display

Field = Literal["key", "uid"]


class ListBuilt(NamedTuple):
    """What a keep list was found to hold.

    Attributes:
        field: whether it lists keys or uids.
        num_ids: different entries.
        num_duplicates: entries that repeat another.
    """

    field: Field
    num_ids: int
    num_duplicates: int


def build(location: str | Sequence[str], field: Field | None, dest: Path) -> ListBuilt:
    """Convert a list of keys or uids.

    Args:
        location: one or more files, globs or URLs: text with one entry a line, json (a list, or
            a mapping whose keys count), jsonl, parquet, npy (DataComp's pairs of unsigned 64-bit
            numbers, or strings); text and json also as ``.gz``. An entry may be a member's file
            name: what follows the key is ignored.
        field: ``key`` or ``uid``: what is listed, and the field or column that has it. None
            takes ``uid`` for pairs of numbers and where there is no field ``key`` but a ``uid``.
        dest: npy file to write; ``KeepList.open`` reads it.

    Returns:
        What was found.

    Raises:
        PlanError: no such file, an empty or malformed list, no such column.
        SetupError: the package for a URL is not installed.
        OSError: reading or writing failed.
    """
    paths = [item.path for item in list_location(location)]
    chosen = field or guess_field(paths[0])
    found = sort_ids(_ids(paths, chosen), dest, prefix=f"{chosen}_")
    if not found.num_ids:
        dest.unlink()
        shown = ", ".join(display(path) for path in paths[:3])
        raise PlanError(f"the list {shown} is empty: nothing would be kept")
    return ListBuilt(chosen, found.num_ids, found.num_duplicates)


def _ids(paths: Sequence[str], field: Field) -> Iterator[Array]:
    for path in paths:
        for batch in read_list(path, field):
            if isinstance(batch, np.ndarray):
                yield batch
            else:
                yield hash_keys(batch) if field == "key" else hash_uids(batch)


class KeepList:
    """A converted list, mapped from its file.

    Attributes:
        field: whether it lists keys or uids.
    """

    def __init__(self, ids: Array) -> None:
        """Use a sorted array of ids.

        Args:
            ids: as `build` writes it, in memory or mapped.

        Raises:
            Nothing.
        """
        self.field: Field = "uid" if (ids.dtype.names or ("",))[0] == "uid_hi" else "key"
        self._ids = ids.view(ID_DTYPE)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "KeepList":
        """Map a list that `build` wrote.

        Args:
            path: the file.

        Returns:
            The list.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no npy file.
        """
        return cls(np.load(path, mmap_mode="r", allow_pickle=False))

    def __len__(self) -> int:
        return len(self._ids)

    def contains(self, names: Sequence[str]) -> Array:
        """Look names up.

        Args:
            names: keys or uids, as `field` says.

        Returns:
            bool (N,): which of them are listed.

        Raises:
            Nothing.
        """
        return self.contains_ids(hash_keys(names) if self.field == "key" else hash_uids(names))

    def contains_ids(self, ids: Array) -> Array:
        """Look ids up.

        Args:
            ids: `ID_DTYPE` (N,).

        Returns:
            bool (N,): which of them are listed.

        Raises:
            Nothing.
        """
        order = np.argsort(ids["hi"])  # neighbours in the list share pages
        asked = ids[order]
        high = self._ids["hi"]
        at = np.searchsorted(high, asked["hi"])
        listed = np.zeros(len(ids), bool)
        inside = at < len(high)
        same = np.flatnonzero(inside)[high[at[inside]] == asked["hi"][inside]]
        hit = self._ids["lo"][at[same]] == asked["lo"][same]
        listed[same] = hit
        unsure = same[~hit]  # the same high half occurs more than once, or the low half differs
        if len(unsure):
            at = np.searchsorted(self._ids, asked[unsure])
            inside = at < len(self._ids)
            listed[unsure[inside]] = self._ids[at[inside]] == asked[unsure[inside]]
        result = np.empty(len(ids), bool)
        result[order] = listed
        return result
