"""One shard for each input file, named by the file's path below the folder that all share."""

from collections.abc import Iterator, Sequence

from hpcpipe.formats.listing import ids_from_paths
from hpcpipe.stage import Input, Shard


def file_shards(
    inputs: Sequence[Input], location: str | list[str], suffixes: tuple[str, ...]
) -> Iterator[Shard]:
    """Make a shard of each file.

    Args:
        inputs: the files.
        location: where they were listed.
        suffixes: endings that are no part of a shard's id.

    Yields:
        The shards, in the files' order.

    Raises:
        PlanError: two files would have one id.
    """
    for shard_id, item in zip(ids_from_paths(inputs, location, suffixes), inputs, strict=True):
        yield Shard(shard_id, (item,), num_bytes=item.size_bytes)
