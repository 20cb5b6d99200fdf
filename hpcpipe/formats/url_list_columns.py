"""The columns of a list of URLs that are wanted, and what is said where one is missing."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpcpipe.errors import ConfigError, PlanError

_NUM_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class UrlColumns:
    """Which columns of a list are read.

    Attributes:
        url: the column with the URLs; a txt list has no other, under whatever name.
        caption: the column with the captions; None for a list without.
        additional: further columns, kept as they are.
    """

    url: str
    caption: str | None
    additional: tuple[str, ...]

    def __post_init__(self) -> None:
        for names in (self.source_names, self.names):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"column {twice!r} is asked for twice: the URL and the caption are kept as "
                    "'url' and 'caption' anyway; name only others as additional columns"
                )

    @property
    def source_names(self) -> tuple[str, ...]:
        """The columns' names in the list. Raises nothing."""
        caption = () if self.caption is None else (self.caption,)
        return (self.url, *caption, *self.additional)

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called when read: ``url``, ``caption``, the others. Raises nothing."""
        caption = () if self.caption is None else ("caption",)
        return ("url", *caption, *self.additional)

    def check(self, where: str, there: Sequence[str]) -> None:
        """Check that a list has every column, once.

        Args:
            where: the list, for messages.
            there: names of its columns.

        Returns:
            Nothing.

        Raises:
            PlanError: a column is missing, or there are two of its name.
        """
        options = {self.url: " (stage.url_col)", self.caption: " (stage.caption_col)"}
        for name in self.source_names:
            if there.count(name) > 1:
                raise PlanError(f"{where} has two columns {name!r}: rename one")
            if name not in there:
                raise PlanError(
                    f"{where} has no column {name!r}{options.get(name, '')}; "
                    f"it has {_shown(there)}{_close(name, there)}"
                )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return (", ".join(names[:_NUM_SHOWN]) or "none") + more


def _close(name: str, there: Sequence[str]) -> str:
    by_lower = {other.lower(): other for other in there}
    close = difflib.get_close_matches(name.lower(), by_lower, 1)
    return f": is {by_lower[close[0]]!r} meant?" if close else ""


def batch_of_text(columns: UrlColumns, values: Sequence[Any]) -> Any:
    """Make a batch of text columns under the names they have in the list.

    Args:
        columns: the columns.
        values: a sequence or Arrow array of strings for each.

    Returns:
        A ``pyarrow.RecordBatch``.

    Raises:
        UnicodeEncodeError: a string is no Unicode text.
    """
    import pyarrow as pa

    arrays = [pa.array(column, pa.string()) for column in values]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns.source_names))
