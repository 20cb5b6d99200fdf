"""Samples of a shard of ``filter_faces`` as people look at them: selected ones, and others."""

import json
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from hpcpipe.errors import BadInputError
from hpcpipe.formats.remote import display
from hpcpipe.formats.selected import Face, Selected, decode_selected
from hpcpipe.formats.source import read_whole
from hpcpipe.stage import Look, LookContext, Shard
from hpcpipe.stages._filter_faces_shard import FilesOfShard
from hpcpipe.stages._look import num_left_out, originals, some_lines


def look(shard: Shard, ctx: LookContext, num_samples: int) -> Iterator[Look]:
    """Show samples: the image with its faces; of selected ones the caption, else why not.

    Args:
        shard: the shard.
        ctx: the framework's help.
        num_samples: how many, at most.

    Yields:
        The samples, selected ones first.

    Raises:
        HpcPipeError: a list of samples cannot be read.
        OSError: the same.
    """
    _, selected_path, others_path = map(ctx.output_path, FilesOfShard.names(shard.id))
    selected = read_whole(selected_path)
    reasons, others = _left_out(read_whole(others_path), others_path, shard.inputs[0].path)
    num_others = num_left_out(ctx.random, num_samples, selected.count(b"\n"))
    others = ctx.random.sample(others, min(len(others), num_others))
    lines = some_lines(selected, ctx.random, num_samples - len(others))
    samples = [*decode_selected(lines, selected_path), *others]
    pictures = originals(samples, ctx.scratch)
    for one in samples:
        picture = pictures[one.key]
        facts: dict[str, str | int | float | None] = {"faces": len(one.faces)}
        if one.key in reasons:
            picture = replace(picture, title=f"left out: {reasons[one.key]}")
            yield Look(one.key, (picture,), (), facts)
        else:
            yield Look(one.key, (picture,), (("caption", one.caption),), facts)


def _left_out(content: bytes, path: str, tar: str) -> tuple[dict[str, str], list[Selected]]:
    """Why samples were left out whose images were looked at, by key; and these samples."""
    reasons: dict[str, str] = {}
    samples = []
    try:
        for row in map(json.loads, content.splitlines()):
            if row.get("size_bytes"):
                reasons[row["key"]] = row["reason"].replace("_", " ")
                samples.append(_sample(row, tar))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInputError(f"{display(path)} is no list of samples: {error}") from error
    return reasons, samples


def _sample(row: dict[str, Any], tar: str) -> Selected:
    return Selected(
        key=row["key"],
        caption="",
        json={},
        faces=tuple(Face(box=tuple(one["box"]), score=one["score"]) for one in row["faces"]),
        tar=tar,
        image="",
        offset_bytes=row["offset_bytes"],
        size_bytes=row["size_bytes"],
    )
