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
        if node in bad:
            # SLURM may start one node's tasks long before the other's
            good = [here / f"began-{name}" for name in ("n1", "g1") if name not in bad]
            until = time.monotonic() + 60
            while good and not good[0].exists() and time.monotonic() < until:
                time.sleep(0.05)
            raise RuntimeError("the GPU has fallen off the bus")
        super().process(shard, ctx, state)
