"""Reshard with a pause a shard, so that a test can step in while it runs."""

import time
from dataclasses import dataclass
from typing import Any

from hpcpipe.stage import Shard, ShardContext
from hpcpipe.stages.reshard import Reshard


@dataclass(frozen=True, kw_only=True)
class SlowReshard(Reshard):
    """The same bytes, later."""

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        time.sleep(0.1)
        super().process(shard, ctx, state)
