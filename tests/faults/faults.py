"""Failing filesystems for processes of tests: calls of the C library fail by rules.

A library, compiled from ``rules.c`` and ``calls.c``, is loaded into processes by ``LD_PRELOAD``;
rules can be changed while they run, and every fault that happened is logged.

    faults = Faults(folder)
    child = subprocess.Popen(command, env=faults.env("worker-1"))
    faults.set(Fault("write,fsync", f"{run_dir}/journal/*", "ENOSPC", times=1))
    ...
    assert faults.fired("fsync")
"""

import errno
import mmap
import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
OPERATIONS = (
    *("open", "create", "read", "write", "copy", "fsync", "close", "rename", "link", "unlink"),
    *("mkdir", "stat", "list", "truncate", "clock"),
)
ALL = ",".join(OPERATIONS[:-1])
"""Every operation on files."""
ACTIONS = ("fail", "short", "delay", "negative", "kill", "stop", "shift")
_CREATING = "create,rename,link,mkdir"
_RULE = struct.Struct("=IIIiIIQQQdddQQ512s64s")
_NUM_RULES = 64


@dataclass(frozen=True, kw_only=True)
class _Options:
    """When a fault happens.

    Attributes:
        after: it happens instead of the operation (False), or once that is done (True); of a
            write, half is done.
        skip: so many matching calls pass before.
        times: so many calls fail, of all processes together; 0: all that follow.
        chance: probability that a call fails.
        seed: makes chance repeatable.
        for_s: the rule ends after so many seconds; 0: never.
        seconds: how long a ``delay`` takes or a ``negative`` look-up is remembered, or how far
            ``shift`` moves the clock.
        who: glob over the names that processes were given by `Faults.env`.
    """

    after: bool = False
    skip: int = 0
    times: int = 0
    chance: float = 1.0
    seed: int = 0
    for_s: float = 0.0
    seconds: float = 0.0
    who: str = "*"


@dataclass(frozen=True)
class Fault(_Options):
    """A rule: which calls fail, and how.

    Attributes:
        operations: one or more of `OPERATIONS`, with commas; ``open`` is any opening, ``create``
            an opening that may create; ``list`` reads folders; ``copy`` is done by the kernel.
        path: glob over absolute paths, whose ``*`` matches slashes, too; of a rename or link,
            either path may match.
        what: name of an errno (``EIO``); ``short`` moves half the bytes; ``delay`` holds the
            call up; ``negative`` believes for a while that what was not there is not there
            (look-ups and listings, as clients of NFS do); ``kill`` and ``stop`` send this
            process SIGKILL or SIGSTOP; ``shift`` moves the clock (operation ``clock``).
    """

    operations: str
    path: str = "*"
    what: str = "EIO"

    def pack(self) -> bytes:
        """The record that ``rules.c`` reads."""
        action = self.what if self.what in ACTIONS else "fail"
        operations = self.operations + ("," + _CREATING if action == "negative" else "")
        bits = 0
        for name in operations.split(","):
            bits |= 1 << OPERATIONS.index(name)
        path, who = os.fsencode(self.path), self.who.encode()
        assert len(path) < 512, self.path
        assert len(who) < 64, self.who
        return _RULE.pack(
            1,
            bits,
            ACTIONS.index(action),
            getattr(errno, self.what) if action == "fail" else 0,
            self.after,
            0,
            self.skip,
            self.times,
            self.seed,
            self.chance,
            self.seconds,
            time.monotonic() + self.for_s if self.for_s else 0.0,
            0,
            0,
            path,
            who,
        )


class Fired(NamedTuple):
    """A fault that happened.

    Attributes:
        pid: to which process.
        who: its name.
        what: ``fail``, ``fail after``, ``short``, ``delay``, ``negative``, ``unlisted``,
            ``kill`` or ``stop``.
        operations: the operations that the call was.
        path: the path it was about.
    """

    pid: int
    who: str
    what: str
    operations: frozenset[str]
    path: str


def build(folder: Path) -> Path:
    """Compile the library.

    Args:
        folder: where to.

    Returns:
        The library.

    Raises:
        CalledProcessError: it cannot be compiled; the compiler has said why.
    """
    library = folder / "faults.so"
    temp = folder / f"faults.{os.getpid()}.so"
    sources = [HERE / "rules.c", HERE / "calls.c"]
    command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", temp, *sources, "-ldl", "-lm"]
    subprocess.run(command, check=True)
    temp.rename(library)
    return library


class Faults:
    """The rules of one test and what came of them."""

    def __init__(self, library: Path, folder: Path) -> None:
        """Start without rules.

        Args:
            library: what `build` made.
            folder: for the files of rules and faults; neither may match a rule.

        Raises:
            OSError: the files cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._library = library
        self._rules = folder / "rules"
        self._log = folder / "log"
        self._rules.write_bytes(bytes(_RULE.size * _NUM_RULES))
        with self._rules.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def env(self, who: str = "", *, machine: str = "", host: str = "") -> dict[str, str]:
        """Environment of a process that the rules are for; its children inherit it.

        Args:
            who: name that rules can tell it by.
            machine: boot id of the machine that it believes to be on; empty: this one's.
            host: host name, likewise.

        Returns:
            This process's environment with the library and its settings.
        """
        own = {
            "LD_PRELOAD": str(self._library),
            "FAULTS_RULES": str(self._rules),
            "FAULTS_LOG": str(self._log),
            "FAULTS_WHO": who,
        }
        own |= {"FAULTS_MACHINE": machine} if machine else {}
        own |= {"FAULTS_HOST": host} if host else {}
        return os.environ | own

    def set(self, *faults: Fault) -> None:
        """Make these the rules from now on, for processes that run, too.

        Args:
            faults: the rules, tried in order; none: nothing fails.
        """
        assert len(faults) <= _NUM_RULES
        for start in range(0, len(self._map), _RULE.size):
            self._map[start : start + 4] = bytes(4)
        for number, fault in enumerate(faults):
            start, record = number * _RULE.size, fault.pack()
            self._map[start + 4 : start + _RULE.size] = record[4:]
            self._map[start : start + 4] = record[:4]

    def fired(self, operation: str = "", path: str = "", what: str = "") -> list[Fired]:
        """What happened so far.

        Args:
            operation: only faults of this operation.
            path: only where this is part of the path.
            what: only of this kind.

        Returns:
            The faults in order.
        """
        text = self._log.read_text(errors="surrogateescape") if self._log.exists() else ""
        found = [_parsed(line) for line in text.splitlines()]
        return [
            fault
            for fault in found
            if (not operation or operation in fault.operations)
            and path in fault.path
            and what in ("", fault.what)
        ]


def _parsed(line: str) -> Fired:
    pid, who, what, bits, path = line.split("\t", 4)
    names = {name for index, name in enumerate(OPERATIONS) if int(bits) >> index & 1}
    return Fired(int(pid), who, what, frozenset(names), path)
