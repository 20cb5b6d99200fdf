"""Selected samples of a shard of ``filter_faces`` as people look at them."""

from collections.abc import Iterator

from hpcpipe.formats.selected import decode_selected
from hpcpipe.formats.source import read_whole
from hpcpipe.stage import Look, LookContext, Shard
from hpcpipe.stages._filter_faces_shard import FilesOfShard
from hpcpipe.stages._look import originals, some_lines


def look(shard: Shard, ctx: LookContext, num_samples: int) -> Iterator[Look]:
    """Show selected samples: the image with its faces, and the caption.

    Args:
        shard: the shard.
        ctx: the framework's help.
        num_samples: how many, at most.

    Yields:
        The samples.

    Raises:
        HpcPipeError: the list of selected samples cannot be read.
        OSError: the same.
    """
    path = ctx.output_path(FilesOfShard.names(shard.id)[1])
    lines = some_lines(read_whole(path), ctx.random, num_samples)
    samples = list(decode_selected(lines, path))
    pictures = originals(samples, ctx.scratch)
    for one in samples:
        facts: dict[str, str | int | float | None] = {"faces": len(one.faces)}
        yield Look(one.key, (pictures[one.key],), (("caption", one.caption),), facts)
