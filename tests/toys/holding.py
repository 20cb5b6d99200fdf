"""A toy stage that holds something open for as long as its worker lives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.stage import WorkerContext
from tests.toys.toy import Toy


@dataclass(frozen=True, kw_only=True)
class Holding(Toy):
    """Writes to ``held.txt`` beside its inputs what it opened, and when it was closed.

    Its word says what closing does beside: ``fail`` raises, ``hang`` never ends.
    """

    def setup(self, ctx: WorkerContext) -> Any:
        folder = Path(str(self.input)).parent

        def say(word: str) -> None:
            with (folder / "held.txt").open("a") as file:
                file.write(f"{word}\n")

        def close() -> None:
            beats = [read_beat(path) for path in folder.glob("runs/**/workers/*.beat")]
            states = {beat.state for beat in beats if beat is not None}
            say(f"closed while {max(states, default='unseen')}, scratch {ctx.scratch.is_dir()}")

        def spoil() -> None:
            if self.word == "fail":
                raise OSError("the server is gone")
            if self.word == "hang":
                while True:
                    pass

        say("opened")
        ctx.exit_stack.callback(spoil)
        ctx.exit_stack.callback(close)
        return super().setup(ctx)
