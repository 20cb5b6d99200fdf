"""Workers that take turns: real ones, in threads of which one runs at a time, up to a next step.

A step ends before every call that changes what others can see, before every look at the journals
or at a claim, and wherever a worker would sleep. What is simulated is the rest: process ids, the
clock, heartbeats, and dying, which is never to be let past such a call again.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcpipe.config import Config
from hpcpipe.manifest import claims, claims_folder, owners
from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.heartbeat import Heartbeat
from hpcpipe.manifest.identity import Identity, own_identity
from hpcpipe.manifest.journal import JournalReader
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime import run_worker, session
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.worker import Worker

CHANGING = ("link", "rename", "unlink", "write", "ftruncate", "fsync", "fdatasync")
"""Functions of ``os`` before which a step ends."""


class Killed(BaseException):
    """A process was killed: nothing it does from here on has any effect."""


class Actor:
    """Something that is done step by step: a worker, or a command.

    Attributes:
        name: unique.
        machine: its machine; on the same one it is seen whether its process lives.
        paused: it stands still, its heartbeat too.
        at: the call before which it stands.
        error: what ended it, unless it was killed or came to its end.
    """

    def __init__(self, world: "World", name: str, machine: str, do: Callable[[], Any]) -> None:
        self.name = name
        self.machine = machine
        self.paused = False
        self.at = ""
        self.error: BaseException | None = None
        self.heartbeat: Heartbeat | None = None
        self.is_dead = False
        self._has_ended = False
        self._world = world
        self._do = do
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def lives(self) -> bool:
        """Whether its process still runs."""
        return not self._has_ended and not self.is_dead

    def _run(self) -> None:
        self._go.acquire()
        self._world.local.actor = self
        try:
            if not self.is_dead:
                self._do()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self._has_ended = True
            self._world.back.release()

    def step(self) -> None:
        """Let it go on up to the end of its step, unless it has ended."""
        if self._has_ended:
            return
        self._go.release()
        self._world.back.acquire()
        if self._has_ended:
            self._thread.join()

    def step_to(self, call: str) -> None:
        """Let it go on up to a call that begins with these words."""
        while not self.at.startswith(call):
            self.step()
            assert self.lives, f"{self.name} has ended without {call}: {self.error}"

    def gate(self, call: str) -> None:
        """Called by the actor itself: the end of a step, before this call."""
        self.at = call
        if not self.is_dead:
            self._world.back.release()
            self._go.acquire()
        if self.is_dead:
            raise Killed

    def kill(self) -> None:
        """Let it have no more effect on anything."""
        self.is_dead = True
        while not self._has_ended:
            self.step()


class World:
    """The clock, and all actors.

    Attributes:
        actors: all there ever were.
        back: released by an actor that hands back control.
        local: knows the actor of a thread.
        on_claim: called with every claim that was just taken.
    """

    def __init__(self, patch: pytest.MonkeyPatch, scratch: Path) -> None:
        self.actors: list[Actor] = []
        self.back = threading.Semaphore(0)
        self.local = threading.local()
        self.on_claim: Callable[[Path], None] = lambda claim: None
        self._now = 1000.0
        real_monotonic, real_sleep = time.monotonic, time.sleep
        for name in CHANGING:
            patch.setattr(os, name, self._gated(getattr(os, name), is_sync="sync" in name))
        for cls, name in ((Claims, "read"), (Claims, "exists"), (JournalReader, "read")):
            patch.setattr(cls, name, self._gated(getattr(cls, name)))
        patch.setattr(Claims, "_link", self._linked(Claims._link))
        patch.setattr(Heartbeat, "_write", self._at_once(Heartbeat._write))
        patch.setattr(Heartbeat, "start", lambda heartbeat: self._started(heartbeat))
        patch.setattr(owners, "process_runs", self._process_runs)
        patch.setattr(session, "own_identity", self._identity)
        patch.setattr(session, "make_scratch", lambda root, identity, run_dir: scratch)
        patch.setattr(run_worker, "LogFile", lambda path, label: None)
        patch.setattr(run_worker, "log_to", nullcontext)
        # The end of a run has tests of its own: tests/runtime/test_closing.py.
        patch.setattr(Worker, "leave", lambda worker: None)
        for module in (claims, claims_folder):
            patch.setattr(module, "FAN_OUT", 2)
        patch.setattr(
            time, "monotonic", lambda: self._now if self._simulated() else real_monotonic()
        )
        patch.setattr(time, "sleep", lambda s: self._sleep() if self.actor() else real_sleep(s))

    def _sleep(self) -> None:
        actor = self.actor()
        assert actor is not None
        actor.gate("sleep")

    def actor(self) -> Actor | None:
        """The actor that this thread is; None for the test's own."""
        return getattr(self.local, "actor", None)

    def _simulated(self) -> bool:
        return self.actor() is not None or getattr(self.local, "at_once", False)

    def _gated(self, real: Callable[..., Any], *, is_sync: bool = False) -> Callable[..., Any]:
        @wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            actor = self.actor()
            if actor is not None and not getattr(self.local, "at_once", False):
                actor.gate(f"{real.__name__} {_target(args)}")
            elif actor is not None and actor.is_dead:
                raise Killed
            return None if is_sync else real(*args, **kwargs)

        return call

    def _linked(self, real: Callable[[Claims, Path], bool]) -> Callable[[Claims, Path], bool]:
        def call(claims: Claims, path: Path) -> bool:
            is_taken = real(claims, path)
            if is_taken:
                self.local.at_once = True
                self.on_claim(path)
                self.local.at_once = False
            return is_taken

        return call

    def _at_once(self, real: Callable[..., bool]) -> Callable[..., bool]:
        """Beats hold a lock that the test's own thread needs, too."""

        def call(heartbeat: Heartbeat) -> bool:
            actor = self.actor()
            if actor is not None and actor.is_dead:
                raise Killed
            self.local.at_once = True
            try:
                return real(heartbeat)
            finally:
                self.local.at_once = False

        return call

    def _started(self, heartbeat: Heartbeat) -> None:
        actor = self.actor()
        assert actor is not None
        actor.heartbeat = heartbeat

    def _process_runs(self, identity: Identity) -> bool | None:
        actor = self.actor()
        assert actor is not None
        if identity.machine != actor.machine:
            return None
        return self.actors[identity.pid].lives

    def _identity(self, *args: Any, **kwargs: Any) -> Identity:
        actor = self.actor()
        assert actor is not None
        pid = self.actors.index(actor)
        own = own_identity(*args, **kwargs)
        return msgspec.structs.replace(own, host=actor.machine, machine=actor.machine, pid=pid)

    def start(self, do: Callable[[], Any], machine: str = "") -> Actor:
        """Begin something; it has done no step yet."""
        actor = Actor(self, f"actor-{len(self.actors)}", machine, do)
        self.actors.append(actor)
        return actor

    def start_worker(self, config: Config, machine: str, kind: str) -> Actor:
        """Begin a worker of the run of a config; ``here`` waits for the end of the run."""
        run = RunDir(Path(config.run_dir))
        number = len(self.actors)
        launch = Launch(number=1, kind=kind, num_workers=4, first_index=number % 4)
        flag = StopFlag(run.stop_file)
        return self.start(
            partial(run_worker.run_worker, run, config, launch, 0, f"w{number}", flag), machine
        )

    def living(self) -> list[Actor]:
        """Actors that have not ended."""
        return [actor for actor in self.actors if actor.lives]

    def pass_time(self, seconds: float) -> None:
        """Let time go by; all that live and are not paused have beaten meanwhile."""
        self._now += seconds
        for actor in self.living():
            if actor.heartbeat is not None and not actor.paused:
                actor.heartbeat.beat_now()


def owner_of(path: Path) -> str:
    """Name of the worker that a claim names."""
    return msgspec.json.decode(path.read_bytes(), type=Identity).name


def _target(args: tuple[object, ...]) -> str:
    """Name of the file that a call is about: of two, the one that it makes."""
    paths = [arg for arg in args if isinstance(arg, str | Path)]
    return Path(paths[-1]).name if paths else ""
