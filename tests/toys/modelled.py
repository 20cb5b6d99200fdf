"""A toy stage that loads a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpcpipe.models.hub import find
from hpcpipe.stage import Model, ModelName, PlanContext, Shard, ShardContext, Stage, WorkerContext


@dataclass(frozen=True, kw_only=True)
class Modelled(Stage):
    """Writes for each input the commit of the model that its worker found."""

    model: ModelName
    revision: str | None
    library: Literal["diffusers", "transformers"]

    def models(self) -> Iterator[Model]:
        yield Model(self.model, self.revision, self.library)

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for item in ctx.list_inputs(self.input, (".txt", ".out")):
            yield Shard(Path(item.path).stem, (item,))

    def setup(self, ctx: WorkerContext) -> str:
        (model,) = self.models()
        return find(model).commit or "none"

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        ctx.output(f"{shard.id}.out").write(state.encode())
