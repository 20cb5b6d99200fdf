"""A toy stage that fails wherever a file says so."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcpipe.stage import Shard, ShardContext
from tests.toys.toy import Toy


@dataclass(frozen=True, kw_only=True)
class Spoilt(Toy):
    """Fails on the nodes that are named in ``bad-nodes`` beside the folder of its inputs."""

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        bad = Path(shard.inputs[0].path).parent.with_name("bad-nodes").read_text().split()
        if os.environ["SLURMD_NODENAME"] in bad:
            raise RuntimeError("the GPU has fallen off the bus")
        super().process(shard, ctx, state)
