"""Planning an overlay: one shard for each input tar, with its edits and the keep list found."""

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from hpcpipe.errors import PlanError
from hpcpipe.formats.listing import ids_from_paths
from hpcpipe.formats.remote import display, filesystem, is_remote, version_of
from hpcpipe.formats.remote_errors import remote_errors
from hpcpipe.stage import Input, PlanContext, Shard
from hpcpipe.stages._keep import convert_keep

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

logger = logging.getLogger(__name__)

SUFFIXES = (".tar", ".tar.gz", ".tgz")

_NUM_SHOWN = 5


def plan(stage: "Reshard", ctx: PlanContext) -> Iterator[Shard]:
    """List one shard for each input tar.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        Shards named by the tars' paths below their common folder; each has the tar as its first
        input, and its edits, where there are any, as the second.

    Raises:
        PlanError: no input, equal ids, no edits for any shard, or a bad keep list.
    """
    inputs = ctx.list_inputs(stage.input or [], SUFFIXES)
    ids = ids_from_paths(inputs, stage.input or [], SUFFIXES)
    edits = _find_edits(stage.edits, ids) if stage.edits is not None else {}
    convert_keep(stage, ctx)
    for shard_id, item in zip(ids, inputs, strict=True):
        found = edits.get(shard_id)
        yield Shard(
            id=shard_id,
            inputs=(item,) if found is None else (item, found),
            num_bytes=item.size_bytes,
        )


class _Entry(NamedTuple):
    is_dir: bool
    item: Input


def _find_edits(location: str, ids: list[str]) -> dict[str, Input]:
    """Find the tar or folder of edits of each shard that has one."""
    root = location.rstrip("/")
    found: dict[str, Input] = {}
    wanted: dict[str, list[str]] = {}
    for shard_id in ids:
        wanted.setdefault(shard_id.rpartition("/")[0], []).append(shard_id)
    unused: list[str] = []
    for parent, members in wanted.items():
        entries = _entries(f"{root}/{parent}" if parent else root, bool(parent))
        for shard_id in members:
            name = shard_id.rpartition("/")[2]
            tar, folder = entries.pop(f"{name}.tar", None), entries.pop(name, None)
            if tar is not None and folder is not None and not tar.is_dir and folder.is_dir:
                raise PlanError(
                    f"stage.edits has both {display(tar.item.path)} and a folder of the same name; "
                    "take one of them away"
                )
            if tar is not None and not tar.is_dir:
                found[shard_id] = tar.item
            elif folder is not None and folder.is_dir:
                found[shard_id] = folder.item
        prefixes = {one.removeprefix(parent).lstrip("/").partition("/")[0] for one in wanted}
        unused += [name for name in entries if name not in prefixes]
    if not found:
        shown = ", ".join(sorted(unused)[:_NUM_SHOWN]) or "nothing of the kind"
        raise PlanError(
            f"stage.edits={display(location)} has no edits for any of the {len(ids)} shards: "
            f"expected {ids[0]}.tar or a folder {ids[0]}/ and so on, found {shown}"
        )
    if unused:
        logger.warning(
            "stage.edits: %s to no shard (%s)",
            "1 entry belongs" if len(unused) == 1 else f"{len(unused):,} entries belong",
            ", ".join(sorted(unused)[:_NUM_SHOWN]),
        )
    return found


def _entries(folder: str, may_be_missing: bool) -> dict[str, _Entry]:
    """List a folder of edits; one that is missing below the root has no edits."""
    if is_remote(folder):
        return _remote_entries(folder)
    try:
        with os.scandir(folder) as entries:
            found = {}
            for entry in entries:
                is_dir = entry.is_dir()
                if is_dir or entry.name.endswith(".tar"):
                    info = entry.stat()
                    item = Input(f"{folder}/{entry.name}", info.st_size, str(info.st_mtime_ns))
                    found[entry.name] = _Entry(is_dir, item)
            return found
    except FileNotFoundError as error:
        if may_be_missing:
            return {}
        raise PlanError(f"stage.edits: {error.filename} does not exist") from error
    except OSError as error:
        reason = f"stage.edits: {error.filename} cannot be read: {error.strerror}"
        raise PlanError(reason) from error


def _remote_entries(folder: str) -> dict[str, _Entry]:
    fs, name = filesystem(folder)
    found = {}
    with remote_errors(folder):
        fs.invalidate_cache()
        for info in fs.ls(name, detail=True) if fs.exists(name) else ():
            base = info["name"].rstrip("/").rpartition("/")[2]
            item = Input(f"{folder}/{base}", int(info.get("size") or 0), version_of(info))
            found[base] = _Entry(info.get("type") == "directory", item)
    return found
