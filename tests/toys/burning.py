"""A stage that uses the processor."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcpipe.stage import Shard, ShardContext
from tests.toys.toy import Toy


def burn(seconds: float) -> None:
    """Use the processor for some seconds of its own time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@dataclass(frozen=True, kw_only=True)
class Burning(Toy):
    """The same; ``burn S`` uses the processor for S seconds here, and as long in a child."""

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        what, *rest = Path(shard.inputs[0].path).read_text().split()
        if what == "burn":
            burn(float(rest[0]))
            command = f"from tests.toys.burning import burn; burn({rest[0]})"
            subprocess.run([sys.executable, "-c", command], check=True)
        super().process(shard, ctx, state)
