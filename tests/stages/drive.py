"""Runs a stage here and now through the real contexts, without claims or journals."""

from contextlib import ExitStack
from pathlib import Path

from hpcpipe.runtime.context import SetupContext, ShardContext
from hpcpipe.runtime.finalize_context import FinalizeContext
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import Partials
from hpcpipe.runtime.planning import PlanContext
from hpcpipe.stage import ShardResult

RESHARD = {
    "input": None,
    "output": None,
    "edits": None,
    "keep": None,
    "keep_field": None,
    "require": [],
    "lone_json": "ignore",
    "duplicates": "error",
    "index": None,
    "shard_samples": None,
    "shard_bytes": None,
    "shuffle": False,
    "seed": 0,
    "keys": "keep",
}
"""Options of the stage reshard that ask for nothing."""


class _Plan:
    def __init__(self, shards):
        self._shards = {shard.id: shard for shard in shards}

    def shards(self):
        return iter(self._shards.values())

    def index(self, shard_id):
        return shard_id if shard_id in self._shards else None


class Drive:
    """One run of a stage in `root`; outputs lie in ``root/out``."""

    def __init__(self, stage, root, output=None):
        self.stage = stage
        self.root = Path(root)
        self.out = output or str(self.root / "out")
        self.artifacts = self.root / "artifacts"
        self.scratch = self.root / "scratch"
        folders = [self.artifacts, self.scratch, *([] if output else [Path(self.out)])]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = OutputFolder(self.out, "xxh3_128")
        self.results = {}
        self.bytes_in, self.num_samples = {}, {}
        self.state = None
        self.exit_stack = ExitStack()

    def plan(self):
        ctx = PlanContext(self.artifacts, vars(self.stage))
        self.shards = list(self.stage.plan(ctx))
        return self.shards

    def setup_context(self):
        """As a worker is handed it; `exit_stack` is the caller's to close."""
        return SetupContext("cpu", self.scratch, self.artifacts, self.exit_stack)

    def process(self, shard, attempt=1, should_stop=lambda: False):
        if self.state is None:
            self.state = self.stage.setup(self.setup_context())
        ctx = ShardContext(
            shard.id,
            attempt,
            self.folder,
            self.scratch,
            self.artifacts,
            Partials(self.root / "partial", "0", attempt),
            should_stop,
        )
        ctx.planned = shard
        try:
            self.stage.process(shard, ctx, self.state)
            outputs = ctx.commit(lambda: None)
            self.bytes_in[shard.id] = ctx.bytes_in()
            self.num_samples[shard.id] = ctx.samples_done(outputs)
        finally:
            ctx.discard()
        self.results[shard.id] = ShardResult(shard.id, outputs, ctx.stats)
        return self.results[shard.id]

    def finalize(self):
        ctx = FinalizeContext(
            _Plan(self.shards),
            lambda: self.results,
            1,
            self.folder,
            self.scratch,
            self.artifacts,
            Partials(self.root / "partial", "@finalize", 1),
            lambda: False,
        )
        try:
            self.stage.finalize(ctx)
            ctx.commit(lambda: None)
        finally:
            ctx.discard()

    def run(self):
        for shard in self.plan():
            self.process(shard)
        self.finalize()
        return self

    def stats(self):
        total = {}
        for result in self.results.values():
            for name, number in result.stats.items():
                total[name] = total.get(name, 0) + number
        return total
