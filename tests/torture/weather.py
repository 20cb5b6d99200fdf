"""What the filesystems and clocks do: faults that come and go, by the library of `tests.faults`."""

import random
from pathlib import Path

from tests.faults.faults import ALL, Fault, Faults, build
from tests.torture.runs import TorturedRun

ERRNOS = ("EIO", "ENOSPC", "EDQUOT", "ESTALE", "EROFS")
WRITING = ("create", "write", "fsync", "close", "rename", "link", "mkdir", "truncate")
MACHINES = ("node-0", "node-1", "node-2")


class Weather:
    """Rules that change now and then.

    Attributes:
        num_jumps: how often a clock has jumped.
    """

    def __init__(self, folder: Path, runs: list[TorturedRun], rng: random.Random) -> None:
        """Begin with fine weather."""
        folder.mkdir()
        self.num_jumps = 0
        self._faults = Faults(build(folder), folder)
        self._rng = rng
        self._places = [f"{run.folder}/*" for run in runs] + [f"{run.output}/*" for run in runs]
        self._places += [f"{run.folder}/{name}/*" for run in runs for name in ("journal", "claims")]
        self._clocks: dict[str, float] = {}

    def env(self, machine: str) -> dict[str, str]:
        """Environment of a machine that this weather is to reach."""
        return self._faults.env(machine)

    def change(self) -> None:
        """Let other things fail than before, some of them for a short time only."""
        makers = [self._error, self._error, self._lie, self._stale, self._end, self._end]
        makers += [self._slow, self._outage]
        faults = [self._rng.choice(makers)() for _ in range(self._rng.randint(1, 4))]
        if self._rng.random() < 0.3:
            self.num_jumps += 1
            self._clocks[self._rng.choice(MACHINES)] = self._rng.uniform(-5000, 5000)
        self._faults.set(*faults, *self._shifts())

    def clear(self) -> None:
        """Let nothing fail, and clocks be right."""
        self._faults.set()

    def counts(self) -> dict[str, int]:
        """How many faults there were, and how many processes they killed or stopped."""
        fired = [fault.what for fault in self._faults.fired()]
        ends = {"kills": fired.count("kill"), "stops": fired.count("stop")}
        return {**ends, "faults": len(fired) - sum(ends.values()), "clock jumps": self.num_jumps}

    def _shifts(self) -> list[Fault]:
        return [
            Fault("clock", what="shift", seconds=seconds, who=who)
            for who, seconds in self._clocks.items()
        ]

    def _place(self) -> str:
        return self._rng.choice(self._places)

    def _for_s(self) -> float:
        return self._rng.uniform(0.2, 4.0)

    def _error(self) -> Fault:
        """Some calls fail, before or after they have done something."""
        return Fault(
            ",".join(self._rng.sample(WRITING, 3)),
            self._place(),
            self._rng.choice(ERRNOS),
            chance=self._rng.choice((0.02, 0.1, 0.5)),
            seed=self._rng.getrandbits(30),
            for_s=self._for_s(),
            after=self._rng.random() < 0.2,
        )

    def _lie(self) -> Fault:
        """Renames or links report failure after they succeeded."""
        operation = self._rng.choice(("rename", "link"))
        place, what = self._place(), self._rng.choice(("EIO", "ESTALE"))
        return Fault(operation, place, what, after=True, chance=0.2, for_s=self._for_s())

    def _stale(self) -> Fault:
        """What others made is not seen for a while, where it was looked for before."""
        seconds = self._rng.uniform(0.2, 1.0)
        return Fault(
            "stat,open,list", self._place(), "negative", seconds=seconds, for_s=self._for_s()
        )

    def _end(self) -> Fault:
        """A process is killed or stopped at a certain call, before or after it."""
        return Fault(
            self._rng.choice(("rename", "link", "write", "fsync", "unlink", "create")),
            self._place(),
            self._rng.choice(("kill", "stop")),
            after=self._rng.random() < 0.5,
            chance=0.05,
            seed=self._rng.getrandbits(30),
            times=self._rng.randint(1, 3),
        )

    def _slow(self) -> Fault:
        """Calls take long."""
        seconds = self._rng.uniform(0.05, 1.0)
        return Fault(ALL, self._place(), "delay", seconds=seconds, chance=0.05, for_s=self._for_s())

    def _outage(self) -> Fault:
        """A filesystem is gone for one machine or for all."""
        who = self._rng.choice((*MACHINES, "*"))
        what = self._rng.choice(("EIO", "ESTALE"))
        return Fault(ALL, self._place(), what, for_s=self._for_s(), who=who)
