"""Lists of URLs seen as ranges of rows: parquet as it is, text converted to parquet once.

This is the plan's side; workers read ranges with ``url_list_read``. Each file is cut by itself: no
range has rows of two.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from hpcpipe.errors import PlanError
from hpcpipe.formats.remote import display
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.formats.url_list_convert import convert_list
from hpcpipe.formats.url_list_parquet import count_rows, num_rows_of
from hpcpipe.stage import Input

FORMATS = ("txt", "csv", "tsv", "json", "jsonl", "parquet")
LIST_SUFFIXES = (
    *(f".{name}{packed}" for name in FORMATS[:-1] for packed in ("", ".gz", ".zst")),
    ".parquet",
)
"""What files of a folder must end in to be taken for lists."""
_SUFFIX = re.compile(rf"\.({'|'.join(FORMATS)})(\.gz|\.zst)?$", re.IGNORECASE)


class UrlRange(msgspec.Struct, frozen=True):
    """Consecutive rows of one list.

    Attributes:
        file: the list they come from.
        artifact: name of the plan's artifact they are to be read from; None for `file` itself.
        first_row: number of the first row there, from 0.
        num_rows: how many.
    """

    file: Input
    artifact: str | None
    first_row: int
    num_rows: int

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs a worker needs: none where it reads an artifact. Raises nothing."""
        return () if self.artifact else (self.file,)

    @property
    def meta(self) -> dict[str, Any]:
        """What a worker has to know beside inputs and number of rows. Raises nothing."""
        place = {"artifact": self.artifact, "list": self.file.path} if self.artifact else {}
        return {"first_row": self.first_row, **place}


def plan_ranges(
    inputs: Sequence[Input],
    columns: UrlColumns,
    rows_per_range: int,
    artifact: Callable[[str], Path],
    planned_artifact: Callable[[str], Path | None],
) -> Iterator[UrlRange]:
    """Cut lists into ranges.

    Of parquet only the footers are read. Lists in text are converted to parquet, row groups of
    which hold whole ranges; the artifact's name depends on the list's path, size and version, so
    that one that was converted before is known.

    Args:
        inputs: the lists, all of one format (told by the ending), compressed or not.
        columns: the columns wanted.
        rows_per_range: rows of every range but the last of a file.
        artifact: gives the path of an artifact of the plan.
        planned_artifact: gives that of one that an earlier plan wrote; None for no such artifact.

    Yields:
        The ranges, in the order of files and rows; files without rows have none.

    Raises:
        PlanError: a list cannot be read, is malformed, lacks a column, or all are empty.
        OutageError: a remote store is down.
        OSError: reading or writing failed.
    """
    is_empty = True
    for file, name, num_rows in _sized(inputs, columns, rows_per_range, artifact, planned_artifact):
        for first in range(0, num_rows, rows_per_range):
            is_empty = False
            yield UrlRange(file, name, first, min(rows_per_range, num_rows - first))
    if is_empty:
        shown = ", ".join(display(item.path) for item in inputs[:3])
        raise PlanError(f"no rows in {shown}{' and others' if len(inputs) > 3 else ''}")


def _sized(
    inputs: Sequence[Input],
    columns: UrlColumns,
    rows_per_range: int,
    artifact: Callable[[str], Path],
    planned_artifact: Callable[[str], Path | None],
) -> Iterator[tuple[Input, str | None, int]]:
    list_format = _common_format(inputs)
    if list_format == "parquet":
        for file, num_rows in zip(inputs, count_rows(inputs, columns), strict=True):
            yield file, None, num_rows
        return
    for file in inputs:
        name = f"urls-{xxhash.xxh3_64_hexdigest(msgspec.json.encode(file))}.parquet"
        known = planned_artifact(name)
        if known is not None:
            yield file, name, num_rows_of(known)
            continue
        yield file, name, convert_list(file, list_format, columns, rows_per_range, artifact(name))


def _common_format(inputs: Sequence[Input]) -> str:
    """The format of all lists; a readme beside them must not be taken for one."""
    found: dict[str, str] = {}
    for item in inputs:
        match = _SUFFIX.search(display(item.path))
        if match is None:
            raise PlanError(
                f"{display(item.path)}: a list of URLs ends in .{', .'.join(FORMATS)}, and all "
                "but parquet may be compressed (.gz, .zst); rename it"
            )
        found.setdefault(match[1].lower(), display(item.path))
        if match[1].lower() == "parquet" and match[2]:
            raise PlanError(f"{display(item.path)}: decompress it, parquet is compressed inside")
    if len(found) > 1:
        (one, path), (other, other_path) = list(found.items())[:2]
        raise PlanError(
            f"{path} is {one} and {other_path} is {other}: name lists of one format, "
            f"for example *.{one}"
        )
    return next(iter(found))
