"""After the chaos: the runs are launched to their end, and everything is checked."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tests.torture import check
from tests.torture.chaos import Chaos
from tests.torture.machine import Machine
from tests.torture.record import fates, history, read_record
from tests.torture.runs import TorturedRun

MAX_HISTORIES = 10
WAIT_S = 300.0
_REFUSED = re.compile(
    r"just extended by somebody else|just taken by run|just made by another run"
    r"|the run has no shard|Errno (5|28|30|116|122)\]|Input/output error|No space left"
    r"|Read-only file system|Stale file handle|quota exceeded|it has no run.json|which is gone"
)
# An interrupt where Python can raise nothing: the worker has noted it, and ends a moment later.
_IGNORED = re.compile(r"Exception ignored in: .*\n(?:.*\n)*?KeyboardInterrupt: *\n")


def finish(chaos: Chaos, run: TorturedRun, folder: Path) -> Iterator[str]:
    """Launch it until it is done, and look whether all is well."""
    machines = chaos.machines
    code, said = _wait(chaos, machines[0], run.local(4, "extend=true"))
    if not (run.folder / "run.json").exists():
        yield f"{run.stage}: it cannot even be launched: {said}"
        return
    for number in range(1, 10):
        given_up = check.quarantined(fates(read_record(run.folder)))
        again = [f"--shard={shard}" for shard in given_up if shard not in run.planted]
        if code == 0 and not again:
            break
        if again:
            _wait(chaos, machines[0], ["retry", str(run.folder), *again])
        code, _ = _wait(chaos, machines[number % len(machines)], run.local(4))
    if code != 0:
        yield f"{run.stage}: the last launch ended with {code}"
    yield from _processes(chaos)
    _age(run)
    for verb in (["verify", "--deep"], ["clean"]):
        code, said = _wait(chaos, machines[0], [verb[0], str(run.folder), *verb[1:]])
        if code != 0:
            yield f"{run.stage}: {' '.join(verb)} ended with {code}: {said}"
    code, said = _wait(chaos, machines[0], ["status", str(run.folder), "--json"])
    calm = folder / f"calm-{run.stage}"
    _calm_run(chaos, run, calm)
    yield from _check(run, json.loads(said.splitlines()[-1]), calm / "out")


def _age(run: TorturedRun) -> None:
    """Let two days go by for temporary files: younger ones might be somebody's who is at work."""
    for folder in (run.folder, run.output):
        for path in folder.rglob(".*.*"):
            os.utime(path, (time.time() - 2 * 86400,) * 2)


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
    words = run.local(4, calm=calm)
    words[words.index(f"stage.input={run.inputs}")] = f"stage.input={inputs}"
    code, said = _wait(chaos, chaos.machines[0], words)
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


def commands(machines: list[Machine]) -> Iterator[str]:
    """No command ends in a traceback, or refuses without a reason that was to be expected."""
    for machine in machines:
        for pid, (args, out) in machine.started.items():
            code, said = machine.ended.get(pid, 0), _IGNORED.sub("", out.read_text())
            if "Traceback (most recent call last)" in said and not _REFUSED.search(said):
                yield f"a traceback, see {out}"
            if code not in (-9, -15, 0, 3, 4, 130) and not (code == 2 and _REFUSED.search(said)):
                yield f"{args[0]} ended with {code}, see {out}"
