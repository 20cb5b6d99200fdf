"""What became of each caption of a shard: one row a caption, and saved progress made of rows."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from hpcpipe.stage import ShardContext

META_SUFFIX = ".meta.jsonl"
MAX_ANSWER_CHARS = 500
MADE = "made"
NO_CAPTION, OTHER_LANGUAGE, FAILED = "left_out_caption", "left_out_by_language", "failed_to_rewrite"
"""What rows say of samples that have no prompt; `reason` says why. Counters are called so, too."""


@dataclass(kw_only=True)
class Row:
    """One line of ``ID.meta.jsonl``.

    Attributes:
        key: the sample's.
        status: `MADE`, `NO_CAPTION`, `OTHER_LANGUAGE` or `FAILED`.
        reason: class of what kept it from being made; None where it was.
        message: the same in words.
        caption: as it was, on one line.
        prompt: what was made of it.
        answer: what the model said, where that was refused; cut after `MAX_ANSWER_CHARS`.
        choices: what was drawn for it.
        model: the model's name.
        seed: of the model's sampling, at the first try.
        tries: requests that count as its own.
        server: URL of the server that was asked last.
        language: the likeliest one; None where that was not looked at.
        language_score: how likely the wanted one is, 0 to 1.
    """

    key: str
    status: str
    reason: str | None = None
    message: str | None = None
    caption: str | None = None
    prompt: str | None = None
    answer: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    seed: int | None = None
    tries: int = 0
    server: str | None = None
    language: str | None = None
    language_score: float | None = None


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Write rows as JSON lines, ASCII only. Raises nothing."""
    return b"".join(json.dumps(asdict(row)).encode() + b"\n" for row in rows)


def decode_rows(content: bytes) -> Iterator[Row]:
    """Read rows, up to the first that is none. Raises nothing."""
    for line in content.splitlines():
        try:
            yield Row(**json.loads(line))
        except (ValueError, TypeError):
            return


class Progress:
    """Rows of answers, saved now and then, for a later attempt to go on from."""

    def __init__(self, ctx: ShardContext) -> None:
        """Save nothing yet.

        Args:
            ctx: has a place for them.

        Raises:
            Nothing.
        """
        self._ctx = ctx
        self._num_files = 0
        self._rows: list[Row] = []

    def saved(self) -> dict[str, Row]:
        """Read what an earlier attempt saved.

        Returns:
            Rows by key; a file whose end was lost with its node counts up to there.

        Raises:
            OSError: it cannot be read.
        """
        found: dict[str, Row] = {}
        folder = self._ctx.previous_partial
        for path in sorted(folder.glob("*.jsonl")) if folder is not None else ():
            found.update((row.key, row) for row in decode_rows(path.read_bytes()))
        return found

    def add(self, row: Row) -> None:
        """Take a row; it is saved with the next ones. Raises nothing."""
        self._rows.append(row)

    def save(self) -> None:
        """Save what was added since the last time. Raises OSError."""
        if not self._rows:
            return
        path = self._ctx.partial / f"{self._num_files:06}.jsonl"
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(encode_rows(self._rows))
        os.rename(hidden, path)
        self._num_files += 1
        self._rows.clear()
