"""Sample keys of repacked tars: which keep theirs, which get another, and what equal ones do.

Knows keys and their ids only; the members are renamed in ``_repack``.
"""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from hpcpipe.formats.ids import Array, hash_keys

if TYPE_CHECKING:
    from collections.abc import Sequence


def prefixes(tar_ids: "Sequence[str]") -> list[str]:
    """Make what ``keys=prefix`` puts in front of the keys of each tar.

    Args:
        tar_ids: ids of the tars, unique.

    Returns:
        For each tar its id with an underscore, dots and slashes replaced by ``-`` (a key has
        none); where one of them begins with another, which could make two keys equal, the
        tars' numbers.

    Raises:
        Nothing.
    """
    made = [f"{name.replace('/', '-').replace('.', '-')}_" for name in tar_ids]
    in_order = sorted(made)
    if not any(b.startswith(a) for a, b in itertools.pairwise(in_order)):
        return made
    width = max(5, len(str(len(made) - 1)))
    return [f"{number:0{width}d}_" for number in range(len(made))]


def with_prefix(key: str, prefix: str) -> str:
    """Put a prefix in front of the last component of a key. Raises nothing."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{prefix}{name}"


def repeats(ids: Array, groups: Array | None) -> Array:
    """Count how many equal keys stand before each sample.

    Args:
        ids: `ids.ID_DTYPE` (N,), in the order of the output.
        groups: integers (N,); only keys of one group can be equal. None: all in one.

    Returns:
        int64 (N,): 0 for the first of its key.

    Raises:
        Nothing.
    """
    columns = (ids["lo"], ids["hi"]) if groups is None else (ids["lo"], ids["hi"], groups)
    order = np.lexsort(columns)
    is_same = np.ones(max(0, len(ids) - 1), bool)
    for column in columns:
        is_same &= column[order[1:]] == column[order[:-1]]
    found = np.zeros(len(ids), np.int64)
    if is_same.any():
        place = np.arange(len(ids))
        starts = np.concatenate(([True], ~is_same))
        first = np.maximum.accumulate(np.where(starts, place, 0))
        found[order] = place - first
    return found


class FreeKeys:
    """Finds keys that no sample of an output has yet."""

    def __init__(self, ids: Array, groups: Array | None) -> None:
        """Start.

        Args:
            ids: ids of the keys that the output's samples have, as for `repeats`.
            groups: only keys of one group can be equal, as for `repeats`.

        Raises:
            Nothing.
        """
        numbers = [0] * len(ids) if groups is None else groups.tolist()
        self._taken = set(zip(numbers, ids.tolist(), strict=True))
        self._in_one_group = groups is None

    def next_free(self, key: str, group: int, nth: int) -> str:
        """Give a key that is free, and take it.

        Args:
            key: the key wanted.
            group: its group.
            nth: how many equal ones stand before it.

        Returns:
            The key with ``-2``, ``-3``, ... behind it.

        Raises:
            Nothing.
        """
        while True:
            nth += 1
            candidate = f"{key}-{nth}"
            (found,) = hash_keys([candidate]).tolist()
            taken = (0 if self._in_one_group else group, found)
            if taken not in self._taken:
                self._taken.add(taken)
                return candidate
