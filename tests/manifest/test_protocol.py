"""A model of the claim protocol: real workers, every order of their steps that hypothesis tries.

Workers are killed, stand still past their lease and go on; shards are reset, inputs are added.
Whatever happens, in the end every shard is done, and what lies there is what the attempt that
counts has written.
"""

import contextlib
import dataclasses
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import xxhash
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hpcpipe.errors import RunMismatchError
from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.journal import FINALIZE, Event, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.changes import reset_shards
from hpcpipe.runtime.results import open_state
from hpcpipe.stage import FinalizeContext, PlanContext, Shard, ShardContext, Stage
from tests.manifest.simulation import Actor, World, owner_of
from tests.toys.runs import toy_config, write_inputs

LEASE_S = 10.0
MAX_ACTORS = 12
MAX_STEPS = 20_000
CALLS = st.sampled_from(["link", "unlink", "rename", "write"])
_TOKENS = count()


@dataclass(frozen=True, kw_only=True)
class Two(Stage):
    """Two files a shard; in every attempt others, unless said to be deterministic."""

    def plan(self, ctx: PlanContext) -> Iterator[Shard]:
        for item in ctx.list_inputs(self.input, (".txt",)):
            yield Shard(Path(item.path).stem, (item,), num_bytes=item.size_bytes)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        token = shard.id if self.deterministic else f"{shard.id} {next(_TOKENS)}"
        for suffix in ("a", "b"):
            ctx.output(f"{shard.id}.{suffix}").write(token.encode())

    def finalize(self, ctx: FinalizeContext) -> None:
        out = ctx.output("list.txt")
        for shard in ctx.shards():
            result = ctx.result(shard.id)
            for file in result.outputs if result else ():
                out.write(f"{file.path} {file.checksum}\n".encode())


@dataclass(frozen=True, kw_only=True)
class Loose(Two):
    """The same, said not to be deterministic."""

    deterministic: ClassVar[bool] = False


class Protocol(RuleBasedStateMachine):
    """What may happen to a run, one step after the other."""

    @initialize(
        num_shards=st.integers(1, 3), loose=st.booleans(), calls=st.lists(CALLS, max_size=3)
    )
    def make(self, num_shards: int, loose: bool, calls: list[str]) -> None:
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="hpcpipe-protocol-", dir="/dev/shm"))
        (self.folder / "scratch").mkdir()
        self.world = World(self.patch, self.folder / "scratch")
        self.num_inputs = self.num_retries = 0
        self.owners: dict[str, str] = {}
        self.done_before: dict[str, dict[str, int]] = {}
        self._add_inputs(num_shards)
        config = toy_config(self.folder, run__lease_s=LEASE_S, run__linger_s=4 * LEASE_S)
        stage = (Loose if loose else Two)(input=config.stage.input, output=config.stage.output)
        self.config = dataclasses.replace(config, stage=stage)
        self.run = prepare(self.config)[0]
        self.world.on_claim = self._note_done
        for number, call in enumerate(calls):
            actor = self.world.start_worker(self.config, f"m{number % 2 + 1}", "work")
            self._step_to(actor, "link")
            self._step_to(actor, call)

    def _note_done(self, claim: Path) -> None:
        """What was done before a claim was taken must not be done in it."""
        state, _ = open_state(self.run, self.config)
        done = {shard: state.done_attempt(shard) for shard in state.plan.ids}
        self.done_before[claim.name] = {shard: number for shard, number in done.items() if number}

    def _add_inputs(self, number: int) -> None:
        names = [f"s{self.num_inputs + n}" for n in range(number)]
        write_inputs(self.folder, **dict.fromkeys(names, "x"))
        self.num_inputs += number

    @precondition(lambda self: len(self.world.actors) < MAX_ACTORS)
    @rule(machine=st.sampled_from(["m1", "m2"]), kind=st.sampled_from(["here", "work"]))
    def start(self, machine: str, kind: str) -> None:
        self.world.start_worker(self.config, machine, kind)

    @precondition(lambda self: self.num_retries < 2)
    @rule(shards=st.sets(st.integers(0, 2), min_size=1))
    def retry(self, shards: set[int]) -> None:
        self.num_retries += 1
        names = [f"s{n}" for n in shards if n < self.num_inputs]
        self.world.start(lambda: self._reset(names))

    def _reset(self, names: list[str]) -> None:
        state, _ = open_state(self.run, self.config)
        names = [name for name in names if state.plan.index(name) is not None]
        reset_shards(self.run, state, names)

    @precondition(lambda self: self.num_inputs < 4)
    @rule()
    def extend(self) -> None:
        self._add_inputs(1)
        self.world.start(self._extend)

    def _extend(self) -> None:
        with contextlib.suppress(RunMismatchError):  # just extended by somebody else
            prepare(dataclasses.replace(self.config, extend=True))

    def _awake(self) -> list[Any]:
        return [actor for actor in self.world.living() if not actor.paused]

    @precondition(lambda self: self._awake())
    @rule(who=st.integers(0, 100), steps=st.integers(1, 25))
    def step(self, who: int, steps: int) -> None:
        actor = self._awake()[who % len(self._awake())]
        for _ in range(steps):
            actor.step()

    @precondition(lambda self: self._awake())
    @rule(who=st.integers(0, 100), call=CALLS)
    def step_to(self, who: int, call: str) -> None:
        self._step_to(self._awake()[who % len(self._awake())], call)

    def _step_to(self, actor: Actor, call: str) -> None:
        actor.step()
        while actor.lives and not actor.at.startswith((call, "sleep")):
            actor.step()

    @precondition(lambda self: self._awake())
    @rule(who=st.integers(0, 100))
    def kill(self, who: int) -> None:
        self._awake()[who % len(self._awake())].kill()

    @precondition(lambda self: self._awake())
    @rule(who=st.integers(0, 100))
    def pause(self, who: int) -> None:
        self._awake()[who % len(self._awake())].paused = True

    @precondition(lambda self: any(actor.paused for actor in self.world.living()))
    @rule(who=st.integers(0, 100))
    def go_on(self, who: int) -> None:
        paused = [actor for actor in self.world.living() if actor.paused]
        paused[who % len(paused)].paused = False

    @precondition(lambda self: self._awake() and len(self.world.actors) < MAX_ACTORS)
    @rule(who=st.integers(0, 100), rounds=st.integers(9, 14), steps=st.integers(2, 15))
    def outlast(self, who: int, rounds: int, steps: int) -> None:
        """One stands still while the others go on, until about the end of its lease."""
        self.pause(who)
        self.world.start_worker(self.config, "m2", "here")
        for _ in range(rounds):
            for actor in self._awake():
                for _ in range(steps):
                    actor.step()
            self.world.pass_time(LEASE_S / 10)

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def an_attempt_keeps_its_owner(self) -> None:
        for path in self.run.claims.glob("*/*"):
            owner = owner_of(path)
            assert self.owners.setdefault(path.name, owner) == owner

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        try:
            self._finish()
            self._check()
        finally:
            for actor in self.world.living():
                actor.kill()
            self.patch.undo()
            shutil.rmtree(self.folder)

    def _finish(self) -> None:
        """Let all that live go on, and see to it that there is one that waits for the end."""
        self.world.start(self._extend)
        self.work_off()
        # What stood still until the very end comes back after it.
        for actor in self.world.living():
            actor.paused = False
        self.work_off()

    def work_off(self) -> None:
        self.world.start_worker(self.config, "m1", "here")
        for _ in range(MAX_STEPS // 50):
            if not self._awake():
                return
            for actor in self._awake():
                for _ in range(50):
                    actor.step()
            self.world.pass_time(LEASE_S / 10)
        raise AssertionError(f"they do not end: {[actor.name for actor in self._awake()]}")

    def _check(self) -> None:
        self._check_journals()
        self._check_outputs()

    def _check_journals(self) -> None:
        errors = [actor.error for actor in self.world.actors if actor.error is not None]
        assert not errors, errors
        self.an_attempt_keeps_its_owner()
        state, _ = open_state(RunDir(self.run.path), self.config)
        assert state.counts() == {"done": self.num_inputs, "pending": 0, "quarantined": 0}
        assert state.is_done(FINALIZE)
        lines = [(name, e) for name, e in JournalReader(self.run.journal, Event).read()]
        done = Counter((e.shard, e.attempt) for _, e in lines if e.event == "done")
        assert set(done.values()) == {1}
        through = Counter[str]()
        for _, event in lines:
            if event.event == "reset":
                through[event.shard] = max(through[event.shard], event.attempt)
        for name, event in lines:
            assert event.event != "failed", event
            if event.event in ("done", "closed"):
                block = event.block or state.block_name(event.shard)
                claim = f"{block}.{event.attempt}"
                assert self.owners[claim] == name
                if event.event == "done":
                    before = self.done_before[claim].get(event.shard, 0)
                    assert before <= through[event.shard], f"{event.shard} is done again"

    def _check_outputs(self) -> None:
        state, _ = open_state(RunDir(self.run.path), self.config)
        listed = {}
        for _, event in JournalReader(self.run.journal, Event).read():
            if event.event != "done" or state.done_attempt(event.shard) != event.attempt:
                continue
            for file in event.outputs:
                data = (Path(self.config.output) / file.path).read_bytes()
                assert f"xxh3_128:{xxhash.xxh3_128(data).hexdigest()}" == file.checksum, event
                if event.shard != FINALIZE:
                    listed[file.path] = file.checksum
        lines = (Path(self.config.output) / "list.txt").read_text().splitlines()
        assert dict(line.split() for line in lines) == listed


class _Begun(Protocol):
    """A run that a test drives by hand."""

    def __init__(self, *, loose: bool) -> None:
        super().__init__()
        self.make(num_shards=1, loose=loose, calls=[])

    def worker(self, machine: str) -> Actor:
        return self.world.start_worker(self.config, machine, "work")

    def lost(self, actor: Actor, observer: Actor) -> None:
        """Let an actor stand still until another one has taken over what it did."""
        actor.paused = True
        for _ in range(MAX_STEPS):
            if observer.at == "link 0.2":
                return
            observer.step()
            self.world.pass_time(LEASE_S / 10)
        raise AssertionError(f"{actor.name} is not taken over")


@pytest.mark.parametrize("before", ["rename s0.a", "write"])
def test_what_a_successor_publishes_after_the_last_step_is_not_mixed_with_it(before):
    begun = _Begun(loose=True)
    one, two = begun.worker("m1"), begun.worker("m2")
    # The first publishes and stands still; the second takes over, then the first says it is done.
    one.step_to("rename s0.b")
    one.step_to("write")
    begun.lost(one, two)
    two.step_to("rename s0.a")
    one.paused = False
    two.paused = True
    if before == "write":
        two.step_to("rename s0.b")
        two.step_to("write")
    begun.work_off()
    if before == "write":
        two.kill()
    begun.teardown()


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
