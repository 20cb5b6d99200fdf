from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.manifest.journal import FINALIZE, Event
from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.state import RunState
from hpcpipe.stage import Shard

IDS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    write_plan(folder / "plan.jsonl", [Shard(i) for i in IDS])
    return Plan(folder, 1)


def state(plan, *events, max_attempts=3, max_lost=2):
    made = RunState(plan, max_attempts, max_lost)
    made.apply(events)
    return made


def done(shard, attempt=1):
    return Event(event="done", shard=shard, attempt=attempt)


def failed(shard, attempt=1, final=False):
    return Event(event="failed", shard=shard, attempt=attempt, final=final, error="x")


def closed(block, attempt=1):
    return Event(event="closed", block=block, attempt=attempt)


def lost(block, attempt, host):
    return Event(event="lost", block=block, attempt=attempt, host=host)


def reset(shard, attempt):
    return Event(event="reset", shard=shard, attempt=attempt)


def test_everything_is_pending_at_first(plan):
    assert state(plan).counts() == {"done": 0, "pending": 4, "quarantined": 0}
    assert state(plan).next_attempt("0") == 1


def test_done_wins_over_failures(plan):
    made = state(plan, failed("a", 1), closed("0", 1), done("a", 2))
    assert made.status("a") == "done"
    assert made.done_attempt("a") == 2


def test_bad_input_is_final_at_once_and_others_after_max_attempts(plan):
    made = state(plan, failed("a", 1, final=True), failed("b", 1), failed("b", 2))
    assert made.status("a") == "quarantined"
    assert made.status("b") == "pending"
    made.apply([failed("b", 3)])
    assert made.status("b") == "quarantined"
    assert made.counts() == {"done": 0, "pending": 2, "quarantined": 2}


def test_repeated_events_count_once(plan):
    made = state(plan, *[failed("a", 1)] * 5)
    assert made.status("a") == "pending"


def test_lost_attempts_quarantine_sooner_when_seen_on_two_hosts(plan):
    made = state(plan, lost("0", 1, "n1"), lost("0", 2, "n1"), lost("0", 3, "n1"))
    assert made.status("a") == "pending"
    assert made.next_attempt("0") == 4
    made.apply([lost("0", 4, "n2")])
    assert made.status("a") == "quarantined"
    assert made.quarantined() == {"a"}


def test_on_one_host_twice_as_many_losses_quarantine(plan):
    made = state(plan, *[lost("0", attempt, "n1") for attempt in (1, 2, 3)])
    assert made.status("a") == "pending"
    made.apply([lost("0", 4, "n1")])
    assert made.status("a") == "quarantined"


def test_reset_forgets_what_was_before_and_allows_the_next_attempt(plan):
    made = state(plan, done("a", 1), failed("b", 1, final=True))
    made.apply([reset("a", 1), reset("b", 1)])
    assert made.status("a") == made.status("b") == "pending"
    assert made.next_attempt("0") == 2
    made.apply([done("a", 2)])
    assert made.status("a") == "done"


def test_limit_looks_at_the_plans_start_only(plan):
    made = state(plan, done("a"), done("d"))
    assert made.pending(2) == [1]
    assert made.counts(2) == {"done": 1, "pending": 1, "quarantined": 0}


def test_finalize_is_no_shard_of_the_plan(plan):
    made = state(plan, done(FINALIZE))
    assert made.is_done(FINALIZE)
    assert made.counts()["done"] == 0


EVENTS = st.one_of(
    st.builds(done, st.sampled_from(IDS), st.integers(1, 4)),
    st.builds(failed, st.sampled_from(IDS), st.integers(1, 4), st.booleans()),
    st.builds(closed, st.sampled_from("0123"), st.integers(1, 4)),
    st.builds(lost, st.sampled_from("0123"), st.integers(1, 4), st.sampled_from(["n1", "n2"])),
    st.builds(reset, st.sampled_from(IDS), st.integers(1, 4)),
)


def test_one_lost_attempt_counts_for_one_host_whatever_order_it_is_told_in(plan):
    events = [lost("0", 1, "n1"), lost("0", 1, "n2"), lost("0", 2, "n1")]
    assert {state(plan, *order).status("a") for order in permutations(events)} == {"pending"}


@given(st.lists(EVENTS, max_size=20).flatmap(lambda e: st.tuples(st.just(e), st.permutations(e))))
def test_the_order_of_events_does_not_matter(plan, lists):
    straight, shuffled = (state(plan, *events) for events in lists)
    for index, shard_id in enumerate(IDS):
        assert straight.status(shard_id) == shuffled.status(shard_id)
        assert straight.next_attempt(str(index)) == shuffled.next_attempt(str(index))
        assert straight.done_attempt(shard_id) == shuffled.done_attempt(shard_id)
    assert straight.pending() == shuffled.pending()
