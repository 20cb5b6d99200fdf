"""The runs that are tortured: their inputs, their options, the commands that work on them."""

import json
import os
import random
from pathlib import Path

CONF = Path(__file__).parent / "conf"
LEASE_S = 2.0
OPTIONS = (
    f"run.lease_s={LEASE_S}",
    "run.heartbeat_s=0.3",
    "run.linger_s=4",
    "run.backoff_s=0.05",
    "run.max_lost=6",
    "run.max_failed_fraction=0.1",
    f"run.shard_timeout_s={2 * LEASE_S}",
)


class TorturedRun:
    """One run, and what its inputs hold.

    Attributes:
        stage: ``chop`` or ``dice``.
        folder: the run directory.
        output: its output folder.
        inputs: folder of its inputs.
        planted: shards that can never be done, by id: ``bad`` or ``deadly``.
        changed: shards whose inputs were changed after they were first planned.
    """

    def __init__(self, stage: str, folder: Path, rng: random.Random) -> None:
        """Make the input folder, still empty."""
        self.stage = stage
        self.folder = folder / f"run-{stage}"
        self.output = folder / f"out-{stage}"
        self.inputs = folder / f"in-{stage}"
        self.planted: dict[str, str] = {}
        self.changed: set[str] = set()
        self.num_inputs = 0
        self._rng = rng
        self.inputs.mkdir(parents=True)

    def add_inputs(self, number: int) -> None:
        """Add inputs for so many more shards."""
        for _ in range(number):
            self._write_input(f"s{self.num_inputs:05d}")
            self.num_inputs += 1

    def plant(self, kind: str) -> None:
        """Add an input that is ``bad`` or ``deadly``."""
        name = f"s{self.num_inputs:05d}"
        self._write_input(name, **{kind: True})
        self.planted[name] = kind
        self.num_inputs += 1

    def change_input(self) -> None:
        """Change what one shard reads."""
        name = f"s{self._rng.randrange(self.num_inputs):05d}"
        if name not in self.planted:
            self._write_input(name)
            self.changed.add(name)

    def _write_input(self, name: str, **planted: bool) -> None:
        rng = self._rng
        slow = rng.random() < 0.01
        todo = {
            "num_samples": rng.randint(2, 12),
            "pause_s": rng.uniform(0.5, 1.5) if slow else rng.uniform(0.0, 0.06),
            "salt": rng.getrandbits(64),
            **planted,
        }
        temp = self.inputs / f".{name}"
        temp.write_text(json.dumps(todo))
        os.rename(temp, self.inputs / f"{name}.json")

    def command(self, *more: str, calm: Path | None = None) -> list[str]:
        """Words that launch it, or another run of the same inputs below `calm`."""
        folder, output = (calm / "run", calm / "out") if calm else (self.folder, self.output)
        return [
            f"stage={self.stage}",
            f"stage.input={self.inputs}",
            f"stage.output={output}",
            f"run_dir={folder}",
            *OPTIONS,
            *more,
        ]

    def local(self, num_workers: int, *more: str, calm: Path | None = None) -> list[str]:
        """Words that launch workers on one machine and wait for them; see `command`."""
        workers = ("launcher=local", f"launcher.num_workers={num_workers}")
        return self.command(*workers, *more, "-m", calm=calm)

    def shards(self, number: int) -> list[str]:
        """Ids of so many random shards."""
        return [f"s{self._rng.randrange(self.num_inputs):05d}" for _ in range(number)]
