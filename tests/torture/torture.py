"""The torture test: chaos for a while, then calm, then every check there is."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.torture.aftermath import commands, finish
from tests.torture.chaos import Chaos
from tests.torture.record import FINALIZE, fates, read_record
from tests.torture.runs import TorturedRun


class Outcome(NamedTuple):
    """What a torture found.

    Attributes:
        violations: what must not be, in words; with histories of the shards concerned.
        figures: counts of what happened, by name.
    """

    violations: list[str]
    figures: dict[str, float]


def torture(
    folder: Path, seed: int, chaos_s: float, num_shards: int, say: Callable[[str], None]
) -> Outcome:
    """Torture one run of either stage.

    Args:
        folder: a new folder for everything.
        seed: of all random choices; what comes of them depends on timing, too.
        chaos_s: how long it goes on, in seconds; the calm end comes on top.
        num_shards: shards of each run at first; some more come meanwhile.
        say: is told how it goes.

    Returns:
        What was found.
    """
    began = time.monotonic()
    rng = random.Random(seed)
    (folder / "tmp").mkdir(parents=True)
    runs = [TorturedRun(stage, folder, rng) for stage in ("chop", "dice")]
    for run in runs:
        run.add_inputs(num_shards)
        run.plant("bad")
        run.plant("deadly")
    chaos = Chaos(folder, runs, rng)
    said = began
    while time.monotonic() < began + chaos_s:
        chaos.step()
        time.sleep(rng.uniform(0.0, 0.4))
        if time.monotonic() > said + 15:
            said = time.monotonic()
            say(f"{said - began:5.0f} s  {progress(runs)}  {_told(chaos)}")
    say(f"{time.monotonic() - began:5.0f} s  no more faults; the runs are finished and checked")
    chaos.calm()
    violations = [line for run in runs for line in finish(chaos, run, folder)]
    violations += commands([*chaos.machines, *chaos.past])
    chaos.counts.update(chaos.weather.counts())
    figures = dict(chaos.counts) | _figures(runs) | {"seconds": round(time.monotonic() - began)}
    for machine in chaos.machines:
        machine.kill()
    return Outcome(violations, figures | {"violations": len(violations)})


def _told(chaos: Chaos) -> str:
    counts = chaos.counts + Counter(chaos.weather.counts())
    names = ("kills", "stops", "faults", "launches", "workers started", "retry", "extensions")
    return ", ".join(f"{name} {counts[name]:,}" for name in names)


def progress(runs: list[TorturedRun]) -> str:
    """How much of every run is done now, in a few words."""
    words = []
    for run in runs:
        if (run.folder / "run.json").exists():
            made = fates(read_record(run.folder))
            num_done = sum(bool(fate.done) for fate in made.values())
            words.append(f"{run.stage} {num_done}/{len(made) - 1}")
    return ", ".join(words)


def _figures(runs: list[TorturedRun]) -> dict[str, float]:
    """Count what became of the attempts."""
    figures = dict.fromkeys(("shards", "attempts", "lost attempts", "resets", "re-verified"), 0)
    for run in (run for run in runs if (run.folder / "run.json").exists()):
        record = read_record(run.folder)
        made = fates(record)
        figures["shards"] += len(record.shards)
        figures["attempts"] += len(record.owners)
        lost = {(e["block"], e["attempt"]) for _, e in record.events if e["event"] == "lost"}
        figures["lost attempts"] += len(lost)
        figures["resets"] += sum(e["event"] == "reset" for _, e in record.events)
        if run.stage == "dice":
            figures["re-verified"] += sum(
                any(event["attempt"] > 1 for event in fate.done)
                for shard, fate in made.items()
                if shard != FINALIZE
            )
    return {name: float(number) for name, number in figures.items()}


def new_seed() -> int:
    """A seed that is different every time."""
    return int.from_bytes(os.urandom(3), "big")
