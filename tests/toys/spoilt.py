"""A toy stage that fails wherever a file says so."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcpipe.stage import Shard, ShardContext
from tests.toys.toy import Toy


@dataclass(frozen=True, kw_only=True)
class Spoilt(Toy):
    """Fails on the nodes that are named in ``bad-nodes`` beside the folder of its inputs."""

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        here, node = Path(shard.inputs[0].path).parent.parent, os.environ["SLURMD_NODENAME"]
        bad = (here / "bad-nodes").read_text().split()
        (here / f"began-{node}").touch()
        # SLURM may start one node's tasks long before the other's
        until = time.monotonic() + 60
        while len(list(here.glob("began-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        if node in bad:
            raise RuntimeError("the GPU has fallen off the bus")
        super().process(shard, ctx, state)
