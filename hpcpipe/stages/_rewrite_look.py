"""Rewritten captions of a shard as people look at them, with some that were left out."""

import json
from collections.abc import Iterator
from typing import Any

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.source import read_whole
from hpcpipe.stage import Look, LookContext, Shard
from hpcpipe.stages._look import num_left_out
from hpcpipe.stages._rewrite_rows import MADE


def look(shard: Shard, ctx: LookContext, num_samples: int) -> Iterator[Look]:
    """Show captions and what became of them.

    Args:
        shard: the shard.
        ctx: the framework's help.
        num_samples: how many, at most.

    Yields:
        The samples.

    Raises:
        HpcPipeError: the list of captions cannot be read.
        OSError: the same.
    """
    path = ctx.output_path(f"{shard.id}.meta.jsonl")
    rows = _rows(read_whole(path), path)
    made = [number for number, row in enumerate(rows) if row["status"] == MADE]
    others = [number for number, row in enumerate(rows) if row["status"] != MADE]
    num_others = min(len(others), num_left_out(ctx.random, num_samples, len(made)))
    chosen = ctx.random.sample(others, num_others)
    chosen += ctx.random.sample(made, min(len(made), num_samples - num_others))
    for number in sorted(chosen):
        yield _look(rows[number])


def _rows(content: bytes, path: str) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in content.splitlines()]
        if all(isinstance(row["key"], str) and isinstance(row["status"], str) for row in rows):
            return rows
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInputError(f"{display(path)} is no list of captions: {error}") from error
    raise BadInputError(f"{display(path)} is no list of captions")


def _look(row: dict[str, Any]) -> Look:
    texts = [("caption", str(row.get("caption") or ""))]
    if row["status"] == MADE:
        texts.append(("prompt", str(row.get("prompt") or "")))
    else:
        why = row.get("message") or row.get("reason") or ""
        texts.append((row["status"].replace("_", " "), str(why)))
    if row.get("answer"):
        texts.append(("answer", str(row["answer"])))
    facts = {
        "group": " ".join(map(str, (row.get("choices") or {}).values())) or None,
        "LLM": row.get("model"),
        "language": row.get("language"),
        "tries": row.get("tries"),
    }
    return Look(row["key"], (), tuple(texts), facts)
