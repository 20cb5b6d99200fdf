"""A stage that does nothing: what is left to measure is the framework."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpcpipe.stage import PlanContext, Shard, ShardContext, Stage


@dataclass(frozen=True, kw_only=True)
class Noop(Stage):
    """Nothing, a given number of times.

    Attributes:
        num_shards: how often.
    """

    num_shards: int

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for number in range(self.num_shards):
            yield Shard(f"{number:07d}", (), num_bytes=1)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        ctx.count("samples_in", 1)


@dataclass(frozen=True, kw_only=True)
class NoopFiles(Stage):
    """Nothing, once for every input file: what listing real files costs as well."""

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for item in ctx.list_inputs(self.input, (".tar",)):
            name = item.path.rsplit("/", 1)[1].removesuffix(".tar")
            yield Shard(name, (item,), num_bytes=item.size_bytes)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        ctx.count("samples_in", 1)
