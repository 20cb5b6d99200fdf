"""Planning ``generate_images``: one shard for each file of prompts, and what belongs to it."""

import glob
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpcpipe.errors import PlanError
from hpcpipe.formats.edits_write import shard_above
from hpcpipe.formats.listing import ids_from_paths
from hpcpipe.formats.remote import display, is_remote
from hpcpipe.stage import Input, PlanContext, Shard

if TYPE_CHECKING:
    from hpcpipe.stages.generate_images import GenerateImages

PROMPTS_SUFFIX = ".json"
META_SUFFIX = ".meta.jsonl"
SELECTED_SUFFIX = ".jsonl"

META, SELECTED = "meta", "selected"
"""Keys of a shard's meta: which of its inputs tells of the prompts, which of the samples."""


def plan(stage: "GenerateImages", ctx: PlanContext) -> Iterator[Shard]:
    """List one shard for each file of prompts.

    Args:
        stage: the options.
        ctx: the framework's help.

    Yields:
        Shards named by their files; the first input has the prompts, others stand in its meta.

    Raises:
        PlanError: no prompts, or no selected samples for any of them; or these would be written
            over; or edits of two shards would lie in one folder.
    """
    _check_places(stage)
    prompts = ctx.list_inputs(stage.input, (PROMPTS_SUFFIX,))
    ids = ids_from_paths(prompts, stage.input, (PROMPTS_SUFFIX,))
    if stage.edits_format == "files":
        _check_loose(ids)
    metas = _beside(prompts, ctx)
    selected = {} if stage.selected is None else _selected(stage.selected, ids, ctx)
    for shard_id, item in zip(ids, prompts, strict=True):
        inputs = [item]
        meta = {}
        for name, found in ((META, metas.get(item.path)), (SELECTED, selected.get(shard_id))):
            if found is not None:
                meta[name] = len(inputs)
                inputs.append(found)
        yield Shard(shard_id, tuple(inputs), num_bytes=item.size_bytes, meta=meta)


def _check_places(stage: "GenerateImages") -> None:
    """Keep edits apart from the originals, whose json has the same name. Raises PlanError."""
    places = [one for one in (stage.selected, stage.output) if one and not is_remote(one)]
    if len(places) == 2 and os.path.realpath(places[0]) == os.path.realpath(places[1]):
        raise PlanError(
            f"stage.output is the folder of stage.selected ({places[0]}): new samples would "
            "replace the originals' json; give another folder"
        )


def _check_loose(ids: list[str]) -> None:
    """Refuse shards whose loose edits could not be told from each other's. Raises PlanError."""
    known = set(ids)
    for one in ids:
        if (upper := shard_above(one, known)) is not None:
            raise PlanError(
                f"the shards {upper!r} and {one!r} would both have loose edits in the folder "
                f"{one}/: use stage.edits_format=tar, or give {upper!r} another name"
            )


def _beside(prompts: list[Input], ctx: PlanContext) -> dict[str, Input]:
    """Find what tells of the prompts, by the prompts' path, where it lies beside them."""
    folders = sorted({item.path.rpartition("/")[0] for item in prompts})
    listed = _list(folders, "*.json*", (PROMPTS_SUFFIX, META_SUFFIX), ctx)
    return {
        item.path.removesuffix(META_SUFFIX) + PROMPTS_SUFFIX: item
        for item in listed
        if item.path.endswith(META_SUFFIX)
    }


def _list(
    folders: list[str], pattern: str, suffixes: tuple[str, ...], ctx: PlanContext
) -> list[Input]:
    """List files of folders: many as one, since for each the run that made it is read."""
    if len(folders) == 1 or is_remote(folders[0]):
        return ctx.list_inputs(folders, suffixes)
    return ctx.list_inputs(f"{glob.escape(os.path.commonpath(folders))}/**/{pattern}")


def _selected(location: str, ids: list[str], ctx: PlanContext) -> dict[str, Input]:
    """Find the selected samples of each shard that has any."""
    root = location.rstrip("/")
    parents = sorted({f"{root}/{one}".rpartition("/")[0] for one in ids})
    try:
        listed = _list(parents, f"*{SELECTED_SUFFIX}", (SELECTED_SUFFIX,), ctx)
    except PlanError as error:
        if folders := _folders(root, ids):
            return folders
        raise PlanError(f"stage.selected: {error}") from error
    by_path = {item.path: item for item in listed}
    found = {one: by_path.get(f"{root}/{one}{SELECTED_SUFFIX}") for one in ids}
    chosen = {one: item for one, item in found.items() if item is not None} or _folders(root, ids)
    if not chosen:
        raise PlanError(
            f"stage.selected={display(location)} has no samples of any of the {len(ids)} shards: "
            f"expected {ids[0]}{SELECTED_SUFFIX} or a folder {ids[0]}/, and so on"
        )
    return chosen


def _folders(root: str, ids: list[str]) -> dict[str, Input]:
    """Find the folders of shards, as the original scripts make them; each costs a look."""
    found: dict[str, Input] = {}
    for one in ids if not is_remote(root) else ():
        path = f"{root}/{one}"
        try:
            if os.path.isdir(path):
                info = os.stat(path)
                found[one] = Input(path, info.st_size, str(info.st_mtime_ns))
        except OSError as error:
            raise PlanError(f"stage.selected: {path} cannot be read: {error.strerror}") from error
    return found
