"""One shard for each input file, named by its path below the folder that all share; opening it."""

from collections.abc import Iterator, Sequence

from hpcpipe.formats.listing import ids_from_paths
from hpcpipe.formats.remote_source import KeepBehind
from hpcpipe.formats.source import GZIP_SUFFIXES, Source, open_source
from hpcpipe.stage import Input, Shard, ShardContext


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


def open_tar(shard: Shard, ctx: ShardContext) -> Source:
    """Open the tar of a shard, to be read from its beginning on, and a little way back.

    Args:
        shard: its first input is the tar.
        ctx: its scratch is where a compressed tar is unpacked.

    Returns:
        The open source, to be used in a ``with``.

    Raises:
        BadInputError: it is gone, or a broken gzip.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed, or scratch is full.
    """
    path = shard.inputs[0].path
    source = open_source(path, ctx.scratch if path.endswith(GZIP_SUFFIXES) else None)
    return KeepBehind(source) if source.fd is None else source
