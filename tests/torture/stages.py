"""Two stages to be tortured: one whose bytes are always the same, one whose never are.

Each input file says, as JSON, how many samples its shard has, how long it takes, and whether it
is at fault (``bad``) or ends every worker that touches it (``deadly``).
"""

import hashlib
import json
import os
import signal
import tarfile
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcpipe.errors import BadInputError
from hpcpipe.manifest import claims_folder
from hpcpipe.stage import FinalizeContext, PlanContext, Shard, ShardContext, ShardStopped, Stage

NUM_TARS = 2

# Closed claims are looked at in the end: in every process, since all import the stage.
claims_folder._remove = lambda folders: None


@dataclass(frozen=True, kw_only=True)
class Tortured(Stage):
    """What the two have in common."""

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for item in ctx.list_inputs(self.input, (".json",)):
            yield Shard(Path(item.path).stem, (item,), num_bytes=item.size_bytes)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        todo = json.loads(Path(shard.inputs[0].path).read_bytes())
        if todo.get("bad"):
            raise BadInputError("this shard is bad")
        if todo.get("deadly"):
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        self.write(shard, ctx, todo)

    @abstractmethod
    def write(self, shard: Shard, ctx: ShardContext, todo: dict[str, Any]) -> None:
        """Write the shard's outputs. Raises OSError."""

    def finalize(self, ctx: FinalizeContext) -> None:
        out = ctx.output("list.txt")
        for shard in ctx.shards():
            result = ctx.result(shard.id)
            for file in result.outputs if result else ():
                out.write(f"{file.path} {file.checksum} {file.num_samples}\n".encode())


@dataclass(frozen=True, kw_only=True)
class Chop(Tortured):
    """Two tars of samples and their index, the same bytes in every attempt."""

    def planned_outputs(self, shard: Shard) -> tuple[str, ...]:
        return (*(f"{shard.id}-{n}.tar" for n in range(NUM_TARS)), f"{shard.id}.jsonl")

    def write(self, shard: Shard, ctx: ShardContext, todo: dict[str, Any]) -> None:
        tars = [ctx.output(f"{shard.id}-{n}.tar") for n in range(NUM_TARS)]
        index = ctx.output(f"{shard.id}.jsonl")
        counts = [0] * NUM_TARS
        for number in range(todo["num_samples"]):
            key, tar = f"{shard.id}-{number:03d}", number % NUM_TARS
            data = hashlib.sha256(f"{todo['salt']} {key}".encode()).digest() * 40
            for suffix, content in (("bin", data), ("txt", key.encode())):
                tars[tar].write(_member(f"{key}.{suffix}", content))
            index.write(json.dumps({"key": key, "tar": tar}).encode() + b"\n")
            counts[tar] += 1
            _pause(ctx, todo["pause_s"] / todo["num_samples"])
        for tar, count in zip(tars, counts, strict=True):
            tar.write(bytes(1024))
            tar.num_samples = count
        ctx.count("samples", sum(counts))


@dataclass(frozen=True, kw_only=True)
class Dice(Tortured):
    """Two files of random bytes that begin with the same token, another one in every attempt."""

    deterministic: ClassVar[bool] = False

    def planned_outputs(self, shard: Shard) -> tuple[str, ...]:
        return (f"{shard.id}.a", f"{shard.id}.b")

    def write(self, shard: Shard, ctx: ShardContext, todo: dict[str, Any]) -> None:
        token = os.urandom(16).hex().encode()
        for name in self.planned_outputs(shard):
            out = ctx.output(name)
            out.write(token)
            body = os.urandom(todo["num_samples"] * 1000)
            for start in range(0, len(body), 1000):
                out.write(body[start : start + 1000])
                _pause(ctx, todo["pause_s"] / todo["num_samples"] / 2)
            out.write(hashlib.sha256(body).hexdigest().encode())
            out.num_samples = todo["num_samples"]
        ctx.count("samples", todo["num_samples"])


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def _pause(ctx: ShardContext, seconds: float) -> None:
    time.sleep(seconds)
    if ctx.should_stop:
        raise ShardStopped
