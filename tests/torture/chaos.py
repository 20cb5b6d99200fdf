"""What happens to the runs: workers come, and are killed, stopped and told to end at random."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.torture.machine import Machine
from tests.torture.runs import CONF, LEASE_S, TorturedRun
from tests.torture.weather import MACHINES, Weather

PROCESSES = 4
"""Processes that each machine is filled up to."""


class Chaos:
    """The machines, and one random thing after the other.

    Attributes:
        runs: the runs.
        machines: the machines that are up.
        past: those that are gone.
        weather: what fails of filesystems and clocks.
        counts: how often what happened.
    """

    def __init__(self, folder: Path, runs: list[TorturedRun], rng: random.Random) -> None:
        """Bring the machines up."""
        self.runs = runs
        self.counts: Counter[str] = Counter()
        self.past: list[Machine] = []
        self.weather = Weather(folder / "faults", runs, rng)
        self._folder = folder
        self._rng = rng
        self._wake: dict[tuple[Machine, int], float] = {}
        self._num_outputs = 0
        (folder / "commands").mkdir()
        self.machines = [self._machine(name) for name in MACHINES]
        self._actions: list[tuple[float, Callable[[], None]]] = [
            (30, self._kill),
            (20, self._stop),
            (6, self._terminate),
            (1.5, self._lose_machine),
            (2, self._suspend_machine),
            (8, self._retry),
            (3, self._extend),
            (2, self._cancel),
            (4, self._look),
            (20, self.weather.change),
        ]

    def _machine(self, name: str) -> Machine:
        env = self.weather.env(name) | {
            "HPCPIPE_CONF": str(CONF),
            "HPCPIPE_RUNS": str(self._folder / "runs"),
            "TMPDIR": str(self._folder / "tmp"),
        }
        return Machine(name, env)

    def start(self, machine: Machine, args: list[str]) -> int:
        """Start a command; what it says goes to a file of its own. Returns its process id."""
        self._num_outputs += 1
        out = self._folder / "commands" / f"{self._num_outputs:05d}-{machine.name}"
        out.write_text(f"$ hpcpipe {' '.join(args)}\n")
        return machine.start(args, out)

    def step(self) -> None:
        """Keep the machines busy, and let one thing happen."""
        self._continue_stopped(time.monotonic())
        machine = self._rng.choice(self.machines)
        if len(machine.alive()) < PROCESSES:
            self._work(machine)
        weights = [weight for weight, _ in self._actions]
        _, action = self._rng.choices(self._actions, weights)[0]
        action()

    def calm(self) -> None:
        """Let nothing fail any more, and all that stood still go on."""
        self.weather.clear()
        for machine in self.machines:
            machine.alive()
            for pid in list(machine.stopped):
                machine.signal(pid, signal.SIGCONT)

    def _continue_stopped(self, now: float) -> None:
        for machine in self.machines:
            machine.alive()
            for pid in [p for p in machine.stopped if (machine, p) not in self._wake]:
                # Most for longer than the lease, some just about.
                self._wake[machine, pid] = now + self._rng.uniform(0.5, 3.0) * LEASE_S
        for (machine, pid), until in list(self._wake.items()):
            if until <= now:
                del self._wake[machine, pid]
                if machine in self.machines:
                    machine.signal(pid, signal.SIGCONT)

    def _work(self, machine: Machine) -> None:
        run = self._rng.choice(self.runs)
        if (run.folder / "run.json").exists() and self._rng.random() < 0.85:
            if (run.folder / "STOP").exists():
                (run.folder / "STOP").unlink(missing_ok=True)  # as somebody does who goes on
            self.counts["workers started"] += 1
            self.start(machine, ["work", str(run.folder)])
        else:
            self.counts["launches"] += 1
            self.start(machine, run.local(self._rng.randint(1, 2)))

    def _victim(self) -> tuple[Machine, int] | None:
        machine = self._rng.choice(self.machines)
        awake = [pid for pid in machine.alive() if pid not in machine.stopped]
        return (machine, self._rng.choice(awake)) if awake else None

    def _kill(self) -> None:
        if victim := self._victim():
            self.counts["kills"] += 1
            victim[0].signal(victim[1], signal.SIGKILL)

    def _terminate(self) -> None:
        if victim := self._victim():
            self.counts["terminations"] += 1
            victim[0].signal(victim[1], signal.SIGTERM)

    def _stop(self) -> None:
        if victim := self._victim():
            self._pause(*victim)

    def _pause(self, machine: Machine, pid: int) -> None:
        self.counts["stops"] += 1
        machine.signal(pid, signal.SIGSTOP)

    def _lose_machine(self) -> None:
        number = self._rng.randrange(len(self.machines))
        self.counts["machines lost"] += 1
        self.counts["kills"] += len(self.machines[number].alive())
        self.machines[number].kill()
        self.past.append(self.machines[number])
        self.machines[number] = self._machine(MACHINES[number])

    def _suspend_machine(self) -> None:
        machine = self._rng.choice(self.machines)
        self.counts["machines suspended"] += 1
        for pid in machine.alive():
            if pid not in machine.stopped:
                self._pause(machine, pid)

    def _made_run(self) -> TorturedRun | None:
        made = [run for run in self.runs if (run.folder / "run.json").exists()]
        return self._rng.choice(made) if made else None

    def _verb(self, name: str, *words: str) -> None:
        if run := self._made_run():
            self.counts[name] += 1
            self.start(self._rng.choice(self.machines), [name, str(run.folder), *words])

    def _retry(self) -> None:
        if run := self._made_run():
            self.counts["retry"] += 1
            words = [f"--shard={shard}" for shard in run.shards(self._rng.randint(1, 100))]
            if self._rng.random() < 0.1:
                words = ["--all"]
            self.start(self._rng.choice(self.machines), ["retry", str(run.folder), *words])

    def _extend(self) -> None:
        if run := self._made_run():
            self.counts["extensions"] += 1
            run.add_inputs(self._rng.randint(1, 20))
            run.change_input()
            self.start(self._rng.choice(self.machines), run.local(1, "extend=true"))

    def _cancel(self) -> None:
        self._verb("cancel", *self._rng.choice([(), ("--drain",)]))

    def _look(self) -> None:
        self._verb(*self._rng.choice([("status", "--json"), ("logs",), ("verify", "--requeue")]))
