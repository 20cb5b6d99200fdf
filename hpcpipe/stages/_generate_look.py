"""New images of a shard of ``generate_images`` as people look at them, beside the originals."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hpcpipe.errors import BadInputError, HpcPipeError
from hpcpipe.formats.edits_write import loose_name
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import split_key
from hpcpipe.formats.selected import Selected, decode_selected
from hpcpipe.formats.source import open_source, read_whole
from hpcpipe.formats.tar import scan
from hpcpipe.stage import Look, LookContext, Picture, Shard
from hpcpipe.stages._generate_files import MADE
from hpcpipe.stages._generate_plan import META_SUFFIX, SELECTED, SELECTED_SUFFIX
from hpcpipe.stages._look import ORIGINAL, originals

if TYPE_CHECKING:
    from hpcpipe.stages.generate_images import GenerateImages

_NO_ORIGINAL = Picture(ORIGINAL, None, "where it lies is not known")


def look(
    stage: "GenerateImages", shard: Shard, ctx: LookContext, num_samples: int
) -> Iterator[Look]:
    """Show new images beside the originals, prompts beside captions.

    Args:
        stage: the options.
        shard: the shard.
        ctx: the framework's help.
        num_samples: how many, at most.

    Yields:
        The samples.

    Raises:
        HpcPipeError: the shard's edits cannot be read.
        OSError: the same.
    """
    path = ctx.output_path(f"{shard.id}{META_SUFFIX}")
    made = _made(read_whole(path), path)
    numbers = ctx.random.sample(range(len(made)), min(num_samples, len(made)))
    chosen = [made[number] for number in sorted(numbers)]
    selected = _selected(shard, set(chosen))
    before = originals(selected.values(), ctx.scratch)
    for key, files in _files(stage, shard, ctx, chosen):
        record = json.loads(files["json"])
        picture = Picture("generated", files.get(stage.image_format))
        texts = [("prompt", files["txt"].decode("utf-8", "replace"))]
        caption = record["generated"]["original"]["caption"]
        if caption is not None:
            texts.insert(0, ("caption", caption))
        pictures = (before.get(key, _NO_ORIGINAL), picture)
        yield Look(key, pictures, tuple(texts), _facts(record["generated"]))


def _facts(generated: dict[str, Any]) -> dict[str, str | int | float | None]:
    rewritten = generated["rewritten"]
    return {
        "group": " ".join(map(str, (rewritten.get("choices") or {}).values())) or None,
        "LLM": rewritten.get("model"),
        "model": generated["model"],
        "seed": generated["seed"],
    }


def _made(content: bytes, path: str) -> list[str]:
    """Keys of the samples that have an image."""
    try:
        notes = [json.loads(line) for line in content.splitlines()]
        return [note["key"] for note in notes if note["status"] == MADE]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInputError(f"{display(path)} is no list of images: {error}") from error


def _selected(shard: Shard, keys: set[str]) -> dict[str, Selected]:
    """What was selected of these; nothing where it cannot be read any more."""
    path = shard.inputs[shard.meta[SELECTED]].path if SELECTED in shard.meta else ""
    if not path.endswith(SELECTED_SUFFIX):
        return {}
    try:
        found = decode_selected(read_whole(path), path)
        return {one.key: one for one in found if one.key in keys}
    except (HpcPipeError, OSError):
        return {}


def _files(
    stage: "GenerateImages", shard: Shard, ctx: LookContext, keys: list[str]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The files of samples, by extension."""
    if stage.edits_format == "files":
        extensions = (stage.image_format, "txt", "json")
        for key in keys:
            paths = {one: ctx.output_path(loose_name(shard.id, key, one)) for one in extensions}
            yield key, {one: read_whole(path) for one, path in paths.items()}
        return
    wanted: dict[str, dict[str, tuple[int, int]]] = {key: {} for key in keys}
    with open_source(ctx.output_path(f"{shard.id}.tar")) as source:
        for member in scan(source):
            split = split_key(member.name)
            if split is not None and split[0] in wanted:
                wanted[split[0]][split[1]] = member.data, member.size
        for key, places in wanted.items():
            missing = {stage.image_format, "txt", "json"} - places.keys()
            if missing:
                raise BadInputError(
                    f"{display(source.path)} has no {key}.{min(missing)}, which was written: "
                    "python -m hpcpipe verify RUN --deep tells what else is gone"
                )
            contents = source.read_ranges(list(places.values()))
            yield key, dict(zip(places, contents, strict=True))
