"""The samples of one shard of ``generate_images``: prompts, and what is known of the originals."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from hpcpipe.formats.captions import decode_captions, decode_notes
from hpcpipe.formats.edit_origins import Edit, LooseFiles
from hpcpipe.formats.edits_write import LooseNames, is_plain_key
from hpcpipe.formats.samples import split_key
from hpcpipe.formats.selected import decode_selected
from hpcpipe.formats.source import read_whole
from hpcpipe.models.seeds import sample_seed
from hpcpipe.stage import Input, Shard
from hpcpipe.stages._generate_plan import META, SELECTED

if TYPE_CHECKING:
    from hpcpipe.stages.generate_images import GenerateImages


class Original(NamedTuple):
    """What is known of a sample as it was.

    Attributes:
        json: its json; None where it cannot be read.
        caption: its caption; None where nobody says.
        tar: path or URL of the tar it lies in; None where nobody says.
    """

    json: dict[str, Any] | None
    caption: str | None
    tar: str | None


class Sample(NamedTuple):
    """One sample of the shard.

    Attributes:
        key: its key.
        prompt: what is to be drawn; "" where there is none.
        seed: its own.
        original: what is known of it.
        rewriting: how its prompt was made, as the step before noted.
        left_out: why nothing is drawn; "" where something is.
    """

    key: str
    prompt: str
    seed: int
    original: Original
    rewriting: dict[str, Any]
    left_out: str


def read_samples(stage: "GenerateImages", shard: Shard) -> list[Sample]:
    """Read what is to be done.

    Args:
        stage: the options.
        shard: which.

    Returns:
        All samples: those with a prompt in the order of the prompts, then those without.

    Raises:
        BadInputError: a file is damaged.
        OutageError: a remote store is down.
        OSError: reading failed.
    """
    prompts = decode_captions(read_whole(shard.inputs[0].path), shard.inputs[0].path)
    notes: dict[str, dict[str, Any]] = {}
    if META in shard.meta:
        path = shard.inputs[shard.meta[META]].path
        notes = decode_notes(read_whole(path), path)
    selected = None
    if SELECTED in shard.meta:
        selected = dict(_originals(shard.inputs[shard.meta[SELECTED]]))
    elif stage.selected is not None:
        selected = {}
    samples = []
    names: set[str] = set()
    loose = LooseNames() if stage.edits_format == "files" else None
    for key, text in prompts.items():
        prompt = text.encode("utf-8", "replace").decode()  # no tokenizer takes half a character
        original = (selected or {}).pop(key, None)
        left_out = _why_left_out(key, prompt, original, is_listed=selected is not None)
        name = key.removeprefix("./")
        if not left_out and name in names:  # its edit could not be told from the other's
            left_out = "repeated_key"
        elif not left_out and loose is not None:
            left_out = "" if loose.take(key, stage.extensions) else "clashing_key"
        names.add(name)
        original = original or Original({}, None, None)
        seed = sample_seed(key, stage.seed)
        samples.append(Sample(key, prompt, seed, original, notes.get(key, {}), left_out))
    for key, original in (selected or {}).items():
        samples.append(Sample(key, "", sample_seed(key, stage.seed), original, {}, "missing"))
    return samples


def _why_left_out(key: str, prompt: str, original: Original | None, is_listed: bool) -> str:
    if not is_plain_key(key):
        return "unsafe_key"
    if not prompt.strip():
        return "empty"
    if original is None:
        return "not_selected" if is_listed else ""
    return "malformed_json" if original.json is None else ""


def _originals(item: Input) -> Iterator[tuple[str, Original]]:
    """The selected samples by key: the lines of a file, or the jsons of a folder."""
    if item.path.endswith(".jsonl"):
        for one in decode_selected(read_whole(item.path), item.path):
            yield one.key, Original(one.json, one.caption, one.tar)
        return
    with closing(LooseFiles(item.path)) as files:
        for name, offset, size in files.names():
            split = split_key(name) if offset >= 0 else None
            if split is not None and split[1].lower() == "json":
                yield split[0], _original(files, Edit(name, split[1], offset, size))


def _original(files: LooseFiles, file: Edit) -> Original:
    fd, _, size = files.open(file)
    try:
        with open(fd, "rb", closefd=False) as stream:
            found = json.loads(stream.read(size))
    except (ValueError, RecursionError):
        return Original(None, None, None)
    finally:
        files.release(fd)
    if not isinstance(found, dict):
        return Original(None, None, None)
    caption = found.get("caption")
    return Original(found, caption if isinstance(caption, str) else None, None)
