"""Which nodes are bad, by what happened on them and elsewhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.manifest.heartbeat import Beat
from hpcpipe.manifest.identity import Identity
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.state import RunState
from hpcpipe.manifest.usage import Usage
from hpcpipe.runtime.live import Live
from hpcpipe.runtime.nodes import BadNode, find_bad_nodes, spoilt_shards
from hpcpipe.runtime.workers import WorkerView
from hpcpipe.stage import Shard

IDS = [f"s{n}" for n in range(12)]


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder: Path = tmp_path_factory.mktemp("plan")
    write_plan(folder / "plan.jsonl", [Shard(i) for i in IDS])
    return Plan(folder, 1)


def failed(index: int, host: str, attempt: int = 1, final: bool = False) -> Event:
    shard = IDS[index]
    return Event(event="failed", shard=shard, attempt=attempt, host=host, error="x", final=final)


def lost(index: int, host: str) -> Event:
    return Event(event="lost", block=str(index), attempt=1, host=host)


def given_back(index: int, host: str) -> Event:
    return Event(event="closed", block=str(index), attempt=1, host=host, error="full")


def worker(node: str, num_done: int, note: str = "") -> WorkerView:
    identity = Identity(name="w", label="w", host="h", node=node, machine="", pid=1, start_ticks=0)
    used = Usage(num_done=num_done)
    beat = Beat(counter=1, at=0.0, state="ended" if note else "working", used=used, note=note)
    return WorkerView(identity, beat, "ended" if note else "running", Live(), 0.0, None)


def bad(plan: Plan, events: list[Event], *workers: WorkerView, limit: int | None = 3):
    state = RunState(plan, 3, 10)
    state.apply(events)
    return find_bad_nodes(state, workers, limit)


GOOD = worker("good", 5)


def test_failures_losses_and_errors_of_the_machine_count_once_a_shard(plan):
    events = [failed(0, "bad"), failed(0, "bad", 2), lost(1, "bad")]
    assert bad(plan, events, GOOD) == []
    assert bad(plan, [*events, given_back(2, "bad")], GOOD) == [BadNode("bad", 3, 0)]


def test_workers_that_could_not_be_set_up_count_too(plan):
    broken = worker("bad", 0, "SetupError: no GPU")
    assert bad(plan, [], GOOD, broken, broken) == []
    assert bad(plan, [], GOOD, *[broken] * 3) == [BadNode("bad", 3, 0)]


def test_what_fails_on_two_nodes_tells_against_none(plan):
    events = [failed(n, "bad") for n in range(3)]
    assert bad(plan, events, GOOD) == [BadNode("bad", 3, 0)]
    assert bad(plan, [*events, failed(1, "good", 2)], GOOD) == []


def test_bad_input_is_the_datas_fault(plan):
    assert bad(plan, [failed(n, "bad", final=True) for n in range(5)], GOOD) == []


def test_a_node_that_finishes_more_than_it_fails_is_good(plan):
    events = [failed(n, "bad") for n in range(3)]
    assert bad(plan, events, GOOD, worker("bad", 2)) == [BadNode("bad", 3, 2)]
    assert bad(plan, events, GOOD, worker("bad", 3)) == []


def test_where_nobody_does_well_it_is_not_the_nodes(plan):
    events = [failed(n, "one") for n in range(4)] + [failed(n, "two") for n in range(4, 8)]
    assert bad(plan, events, worker("one", 1), worker("two", 1)) == []
    assert bad(plan, events, GOOD) == [], "one good node does not tell against two"


def test_off(plan):
    assert bad(plan, [failed(n, "bad") for n in range(5)], GOOD, limit=None) == []


def test_only_shards_that_failed_nowhere_else_are_spoilt(plan):
    state = RunState(plan, 1, 10)
    state.apply([failed(0, "bad"), failed(1, "good"), failed(2, "bad"), failed(2, "good", 2)])
    state.apply([failed(3, "bad", final=True)])
    assert spoilt_shards(state, ["bad"]) == ["s0"]
    assert spoilt_shards(state, []) == []


NODES = st.sampled_from(["a", "b", "c"])
EVENTS = st.one_of(
    st.builds(failed, st.integers(0, 11), NODES, st.integers(1, 3), st.booleans()),
    st.builds(lost, st.integers(0, 11), NODES),
    st.builds(given_back, st.integers(0, 11), NODES),
)


@given(
    st.lists(EVENTS, max_size=30, unique_by=lambda e: (e.event, e.shard or e.block, e.attempt))
    .flatmap(lambda events: st.tuples(st.just(events), st.permutations(events)))
)  # fmt: skip
def test_the_order_of_events_does_not_matter_and_never_all_are_bad(plan, lists):
    workers = [worker("a", 4), worker("b", 1), worker("c", 0)]
    straight, shuffled = (bad(plan, list(events), *workers, limit=2) for events in lists)
    assert straight == shuffled
    assert len(straight) < 3
