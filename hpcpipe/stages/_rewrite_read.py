"""The captions of one shard: from a file of captions, or out of a tar."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from hpcpipe.formats.captions import decode_captions, one_line, read_captions_file
from hpcpipe.formats.samples import MAX_JSON_BYTES, Sample, group
from hpcpipe.formats.source import TAR_SUFFIXES, Source, open_source
from hpcpipe.formats.tar import Member, scan
from hpcpipe.stage import Input, ShardContext

SUFFIXES = (".json", *TAR_SUFFIXES)
_AT_ONCE = 256


def only_tars(inputs: Sequence[Input]) -> list[Input]:
    """Leave out what lies beside tars: their statistics are json, too.

    Args:
        inputs: what was listed.

    Returns:
        The tars; all, where there are none.

    Raises:
        Nothing.
    """
    return [item for item in inputs if item.path.endswith(TAR_SUFFIXES)] or list(inputs)


def read_captions(item: Input, ctx: ShardContext) -> list[tuple[str, str | None]]:
    """Read the captions of one file.

    Args:
        item: a file of captions, or a tar.
        ctx: counts what is read.

    Returns:
        Key and caption on one line of every sample, in order; None where a sample has no caption.

    Raises:
        BadInputError: the file is damaged.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    is_tar = item.path.endswith(TAR_SUFFIXES)
    with open_source(item.path, ctx.scratch if is_tar else None) as source:
        if is_tar:
            found = list(_of_tar(source, ctx))
        else:
            captions = decode_captions(read_captions_file(source), item.path)
            found = [(key, one_line(caption)) for key, caption in captions.items()]
        ctx.count_read(source.num_read)
    return found


def _of_tar(source: Source, ctx: ShardContext) -> Iterator[tuple[str, str | None]]:
    samples = (one for one in group(scan(source), source.path, "first") if one.key is not None)
    while some := list(islice(samples, _AT_ONCE)):
        kept = [sample for sample in some if not sample.repeats]
        if len(kept) < len(some):
            ctx.count("repeated_keys", len(some) - len(kept))
        members = [member for sample in kept for member in _with_captions(sample)]
        contents = source.read_ranges([(member.data, member.size) for member in members])
        by_name = dict(zip((member.name for member in members), contents, strict=True))
        for sample in kept:
            yield str(sample.key), _caption(sample, by_name)


def _with_captions(sample: Sample) -> Iterator[Member]:
    for member, extension in zip(sample.members, sample.extensions, strict=True):
        if extension in ("json", "txt") and member.size <= MAX_JSON_BYTES:
            yield member


def _caption(sample: Sample, contents: dict[str, bytes]) -> str | None:
    """The json's ``caption``, or else the text file."""
    found: dict[str, bytes] = {}
    for member, extension in zip(sample.members, sample.extensions, strict=True):
        if extension in ("json", "txt") and member.name in contents:
            found[extension] = contents[member.name]
    try:
        caption = json.loads(found["json"])["caption"]
    except (ValueError, RecursionError, KeyError, TypeError):
        caption = None
    if not isinstance(caption, str) and "txt" in found:
        caption = found["txt"].decode(errors="replace")
    return one_line(caption) if isinstance(caption, str) else None
