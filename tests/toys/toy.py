"""A stage whose input files say what is to happen to their shard."""

import errno
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpcpipe.errors import BadInputError, SetupError, TransientShardError
from hpcpipe.stage import (
    FinalizeContext,
    PlanContext,
    Shard,
    ShardContext,
    ShardStopped,
    Stage,
    TuningInt,
    WorkerContext,
)

NUMBERED = ("flaky", "hang", "kill", "meet", "slow", "wait")


@dataclass(frozen=True, kw_only=True)
class Toy(Stage):
    """Copies each input file in upper case, unless its first word says something else.

    ``bad``, ``crash`` and ``enospc`` fail; ``flaky N`` fails until attempt N; ``kill N`` ends
    its process until attempt N; ``slow S`` takes S seconds; ``hang`` never ends and ``wait`` ends
    when told to stop, ``hang N`` and ``wait N`` until attempt N; ``gate FILE`` waits for a file,
    or to be told to stop (``tell FILE`` says how far it is before, ``warn FILE`` warns), and
    ``meet N`` until N shards that meet are at hand; ``stop`` says that it was stopped;
    ``steps N S`` takes N times S seconds, saves its progress and goes on from it;
    ``steps N S A`` does half of them until attempt A, and waits to be told to stop.
    """

    word: str
    broken_setup: bool
    batch_size: TuningInt

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for item in ctx.list_inputs(self.input, (".txt", ".out")):
            yield Shard(Path(item.path).stem, (item,), num_bytes=item.size_bytes)

    def planned_outputs(self, shard: Shard) -> tuple[str, ...]:
        return (f"{shard.id}.out",)

    def setup(self, ctx: WorkerContext) -> str:
        if self.broken_setup:
            raise SetupError("the model is missing")
        return self.word

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        text = Path(shard.inputs[0].path).read_text()
        out = ctx.output(f"{shard.id}.out")
        out.write(f"{state} ".encode())
        what, *rest = text.split()
        number = float(rest[0]) if rest and what in NUMBERED else math.inf
        match what:
            case "bad":
                raise BadInputError(f"{shard.inputs[0].path}: bad at byte 7")
            case "crash":
                raise KeyError("crash")
            case "enospc":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case "flaky" if ctx.attempt < number:
                raise TransientShardError(f"not yet, attempt {ctx.attempt}")
            case "kill" if ctx.attempt < number:
                os.kill(os.getpid(), signal.SIGKILL)
            case "slow":
                time.sleep(number)
            case "stop":
                raise ShardStopped
            case "meet":
                here = Path(shard.inputs[0].path).with_suffix(".here")
                here.touch()
                while len(list(here.parent.glob("*.here"))) < number:
                    time.sleep(0.05)
            case "gate" | "tell" | "warn":
                if what == "tell":
                    tell(ctx)
                if what == "warn":
                    ctx.remark("warning: half of it fails")
                while not Path(rest[0]).exists():
                    if ctx.should_stop:
                        raise ShardStopped
                    time.sleep(0.05)
            case "hang" if ctx.attempt < number:
                time.sleep(600)
            case "wait" if ctx.attempt < number:
                while not ctx.should_stop:
                    time.sleep(0.01)
                raise ShardStopped
            case "steps":
                take_steps(ctx, *map(float, rest))
        out.write(text.upper().encode())
        out.num_samples = 1
        if what == "tell":
            ctx.progress(80)
        ctx.count("samples_in")


def tell(ctx: ShardContext) -> None:
    """Say of 40 of 100 samples what became of them."""
    ctx.progress(30)
    ctx.count_read(3 << 20)
    ctx.count("failed_to_download.http_404", 6)
    ctx.count("failed_to_download.dns", 3)
    ctx.count("left_out_by_their_owners.robots_txt")
    ctx.count("urls", 40)
    ctx.remark("slowest: slow.example 12 s,\n\x1b[31m" + "other.example 9 s, " * 50)


def take_steps(ctx: ShardContext, num_steps: float, step_s: float, from_attempt: float = 0) -> None:
    before = ctx.previous_partial
    first = int((before / "steps").read_text()) if before else 0
    for step in range(first, int(num_steps)):
        while ctx.attempt < from_attempt and step >= num_steps / 2 and not ctx.should_stop:
            time.sleep(0.05)
        if ctx.should_stop:
            raise ShardStopped
        time.sleep(step_s)
        temp = ctx.partial / ".steps"
        temp.write_text(str(step + 1))
        temp.rename(ctx.partial / "steps")
        ctx.count("steps_taken")
    ctx.count("steps_before", first)


@dataclass(frozen=True, kw_only=True)
class Loose(Toy):
    """The same, said to give other bytes each time."""

    deterministic: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Final(Toy):
    """The same, with a last step that lists what was made."""

    def finalize(self, ctx: FinalizeContext) -> None:
        out = ctx.output("list.txt")
        for shard in ctx.shards():
            result = ctx.result(shard.id)
            size_bytes = result.outputs[0].size_bytes if result else -1
            out.write(f"{shard.id} {size_bytes}\n".encode())
