"""The torture test: chaos for a while, then calm, then every check there is."""

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.torture import check
from tests.torture.chaos import Chaos
from tests.torture.machine import Machine
from tests.torture.record import FINALIZE, fates, history, read_record
from tests.torture.runs import TorturedRun

MAX_HISTORIES = 10
WAIT_S = 300.0
_REFUSED = re.compile(
    r"just extended by somebody else|just taken by run|just made by another run"
    r"|the run has no shard|Errno (5|28|30|116|122)\]|Input/output error|No space left"
    r"|Read-only file system|Stale file handle|quota exceeded|it has no run.json"
)


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
            say(f"{said - began:5.0f} s  {progress(runs)}  {dict(chaos.counts)}")
    chaos.calm()
    violations = [line for run in runs for line in _finish(chaos, run, folder)]
    violations += _commands([*chaos.machines, *chaos.past])
    chaos.counts.update(chaos.weather.counts())
    figures = dict(chaos.counts) | _figures(runs) | {"seconds": round(time.monotonic() - began)}
    for machine in chaos.machines:
        machine.kill()
    return Outcome(violations, figures | {"violations": len(violations)})


def progress(runs: list[TorturedRun]) -> str:
    """How much of every run is done now, in a few words."""
    words = []
    for run in runs:
        if (run.folder / "run.json").exists():
            made = fates(read_record(run.folder))
            num_done = sum(bool(fate.done) for fate in made.values())
            words.append(f"{run.stage} {num_done}/{len(made) - 1}")
    return ", ".join(words)


def _finish(chaos: Chaos, run: TorturedRun, folder: Path) -> Iterator[str]:
    """Launch it until it is done, and look whether all is well."""
    machines = chaos.machines
    code, _ = _wait(chaos, machines[0], run.local(2, "extend=true"))
    for number in range(1, 10):
        given_up = check.quarantined(fates(read_record(run.folder)))
        again = [f"--shard={shard}" for shard in given_up if shard not in run.planted]
        if code == 0 and not again:
            break
        if again:
            _wait(chaos, machines[0], ["retry", str(run.folder), *again])
        code, _ = _wait(chaos, machines[number % len(machines)], run.local(2))
    if code != 0:
        yield f"{run.stage}: the last launch ended with {code}"
    yield from _processes(chaos)
    for verb in (["verify", "--deep"], ["clean"]):
        code, said = _wait(chaos, machines[0], [verb[0], str(run.folder), *verb[1:]])
        if code != 0:
            yield f"{run.stage}: {' '.join(verb)} ended with {code}: {said}"
    code, said = _wait(chaos, machines[0], ["status", str(run.folder), "--json"])
    calm = folder / f"calm-{run.stage}"
    _calm_run(chaos, run, calm)
    yield from _check(run, json.loads(said.splitlines()[-1]), calm / "out")


def _check(run: TorturedRun, shown: dict[str, object], calm: Path) -> Iterator[str]:
    record = read_record(run.folder)
    made = fates(record)
    found = [
        *check.attempts(record),
        *check.ends(run, made),
        *check.reasons(run, record),
        *check.outputs(run, made),
        *check.last_step(run, record, made),
        *check.leftovers(run),
        *check.status(shown, run, made),
        *(check.samples(run) if run.stage == "chop" else check.wholes(run)),
        *(check.same(run, calm) if run.stage == "chop" else ()),
    ]
    told: set[str] = set()
    for line in found:
        shard = line.partition(":")[0]
        more = ""
        if shard in made and shard not in told and len(told) < MAX_HISTORIES:
            told.add(shard)
            more = "\n" + history(record, shard)
        yield f"{run.stage}: {line}{more}"


def _calm_run(chaos: Chaos, run: TorturedRun, calm: Path) -> None:
    """Run the same inputs, without those that can never be done, and leave it alone."""
    inputs = calm / "in"
    shutil.copytree(run.inputs, inputs)
    for shard in run.planted:
        (inputs / f"{shard}.json").unlink()
    words = [w for w in run.command(calm=calm) if not w.startswith("stage.input=")]
    code, said = _wait(chaos, chaos.machines[0], [*words, f"stage.input={inputs}"])
    assert code == 0, said


def _wait(chaos: Chaos, machine: Machine, args: list[str]) -> tuple[int, str]:
    """Do one command to its end; gives its exit code and what it said."""
    pid = chaos.start(machine, args)
    until = time.monotonic() + WAIT_S
    while pid in machine.alive() or pid not in machine.ended:
        assert time.monotonic() < until, f"it does not end: {args}, see {machine.started[pid][1]}"
        time.sleep(0.05)
    return machine.ended[pid], machine.started[pid][1].read_text()


def _processes(chaos: Chaos) -> Iterator[str]:
    """After the last launch every process ends by itself."""
    until = time.monotonic() + 60
    while any(machine.alive() for machine in chaos.machines) and time.monotonic() < until:
        time.sleep(0.2)
    for machine in chaos.machines:
        for pid in machine.alive():
            args, out = machine.started.get(pid, (["a child of a command"], Path()))
            yield f"process {pid} on {machine.name} does not end: {args}, see {out}"


def _commands(machines: list[Machine]) -> Iterator[str]:
    """No command ends in a traceback, or refuses without a reason that was to be expected."""
    for machine in machines:
        for pid, (args, out) in machine.started.items():
            code, said = machine.ended.get(pid, 0), out.read_text()
            if "Traceback (most recent call last)" in said and not _REFUSED.search(said):
                yield f"a traceback, see {out}"
            if code not in (-9, -15, 0, 3, 4, 130) and not (code == 2 and _REFUSED.search(said)):
                yield f"{args[0]} ended with {code}, see {out}"


def _figures(runs: list[TorturedRun]) -> dict[str, float]:
    """Count what became of the attempts."""
    figures = dict.fromkeys(("shards", "attempts", "lost attempts", "resets", "re-verified"), 0)
    for run in runs:
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
