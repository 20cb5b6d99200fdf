"""The sums of a run against a plain count over its events, in any order, twice and reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.done_table import Counted, DoneTable, _Sized
from hpcpipe.stage import Shard

IDS = ["a", "b", "c", FINALIZE]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    write_plan(folder / "plan.jsonl", [Shard(i) for i in IDS if i != FINALIZE])
    return Plan(folder, 1)


def done(shard, attempt, number):
    """An event whose figures depend on shard and attempt, as one attempt's always do."""
    n = 100 * IDS.index(shard) + 10 * attempt + number
    return Counted(
        "done", attempt, shard, at=1000.0 + n, seconds=1.0, outputs=(_Sized(n), _Sized(1)),
        stats={"n": n, f"only-{shard}": 1}, num_samples=2 * n, bytes_in=3 * n,
    )  # fmt: skip


EVENTS = st.one_of(
    st.builds(done, st.sampled_from(IDS), st.integers(1, 3), st.just(0)),
    st.builds(Counted, st.just("reset"), st.integers(0, 2), st.sampled_from(IDS)),
)


def plain_sums(state, events):
    """What the events add up to that count, each attempt once."""
    counting = {
        event.shard: event
        for event in events
        if event.event == "done" and state.done_attempt(event.shard) == event.attempt
    }
    stats = {}
    for event in counting.values():
        for name, value in event.stats.items():
            stats[name] = stats.get(name, 0) + value
    return (
        {name: value for name, value in stats.items() if value},
        sum(e.num_samples for e in counting.values() if e.shard != FINALIZE),
        sum(e.bytes_in for e in counting.values()),
        sum(file.size_bytes for e in counting.values() for file in e.outputs),
    )


@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=15))
def test_sums_are_those_of_the_attempts_that_count(plan, told):
    events = [event for event, is_told_twice in told for _ in range(1 + is_told_twice)]
    state = RunState(plan, 3, 10)
    table = DoneTable(state)
    for event in events:
        state.apply([event])
        table.add([event], plan.indexes([event.shard]))
    totals = table.totals()
    stats = {name: value for name, value in totals.stats.items() if value}
    assert (stats, totals.num_samples, totals.bytes_in, totals.bytes_out) == plain_sums(
        state, events
    )
    assert (totals.recent.shards_per_s > 0) == (state.num_done > 0)


def test_shards_of_a_later_plan_file_are_counted_once_it_is_read(tmp_path):
    write_plan(tmp_path / "plan.jsonl", [Shard("a")])
    plan = Plan(tmp_path, 1)
    state = RunState(plan, 3, 10)
    table = DoneTable(state)
    event = Counted("done", 1, "new", bytes_in=7)
    state.apply([event])
    table.add([event], plan.indexes(["new"]))
    assert (state.counts()["done"], table.totals().bytes_in) == (0, 0)
    write_plan(tmp_path / "plan-0002.jsonl", [Shard("new")])
    assert plan.refresh()
    assert (state.counts()["done"], table.totals().bytes_in) == (1, 7)
