import errno
import os

import msgspec
import pytest

from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.claims import Claims, claim_path
from hpcpipe.manifest.identity import own_identity
from hpcpipe.manifest.journal import Event, JournalReader, JournalWriter
from hpcpipe.runtime.claimer import Claimer, Waits
from hpcpipe.runtime.results import open_state
from tests.toys.runs import toy_config, write_inputs

WAITS = Waits(linger_s=0.0, poll_s=0.01, backoff_s=0.001, to_the_end=False)


class Watch:
    """Says of every owner what it is told to say, after doing what it is told to do."""

    def __init__(self):
        self.view, self.meanwhile = "stale", lambda: None
        self.asked = []

    def check(self, owner):
        self.asked.append(owner.name)
        self.meanwhile()
        return self.view


class Peer:
    """A worker's view of a run, driven by hand."""

    def __init__(self, run, config, name):
        self.identity = own_identity(name, name, 1)
        path = run.workers / f"{name}.json"
        path.write_bytes(msgspec.json.encode(self.identity))
        self.journal = JournalWriter(run.journal / f"{name}.jsonl")
        self.state, self.reader = open_state(run, config)
        self.num_reads = 0
        self.watch = Watch()
        self.claims = Claims(run.claims, path)
        self.claimer = Claimer(
            self.state, self, self.claims, self.watch, WAITS, name, self.record, lambda: False
        )

    def read(self, workers=None):
        self.num_reads += 1
        return self.reader.read(workers)

    def expect(self, worker):
        self.reader.expect(worker)

    def record(self, event):
        self.journal.write(event)
        self.claimer.apply((event,))

    def order(self):
        blocks = {self.state.plan.block_of(index) for index in self.state.pending()}
        return [str(block) for block in sorted(blocks)]

    def claim(self):
        return next(self.claimer.claim(self.order), None)


@pytest.fixture
def run(tmp_path):
    write_inputs(tmp_path, a="one", b="two", c="three", d="four")
    return prepare(toy_config(tmp_path))[0]


@pytest.fixture
def config(tmp_path):
    return toy_config(tmp_path)


def finish_all(peer, *shards):
    for shard in shards:
        peer.record(Event("done", 1, shard))


def test_what_a_dead_owner_finished_last_is_not_done_again(run, config):
    one, two = Peer(run, config, "one"), Peer(run, config, "two")
    assert [one.claims.take(str(block), 1) for block in range(4)] == [True] * 4
    finish_all(one, "a", "b", "c")
    # It finishes the last shard and ends just when the other one looks at it.
    two.watch.meanwhile = lambda: two.state.is_done("d") or one.journal.write(Event("done", 1, "d"))
    assert two.claim() is None
    assert [event.event for _, event in JournalReader(run.journal, Event).read()] == ["done"] * 4


def test_what_was_finished_before_the_attempt_is_not_done_again(run, config):
    one, two = Peer(run, config, "one"), Peer(run, config, "two")
    one.claims.take("0", 1)
    # The end of the first attempt was read from a third worker's journal before the first one's.
    two.claimer.apply([Event("lost", 1, block="0", host="n1")])
    one.journal.write(Event("done", 1, "a"))
    assert two.claim().shards == ["b"]


def test_each_attempt_on_a_block_begins_at_another_shard(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcpipe.launch.prepare.MAX_BLOCKS", 1)
    write_inputs(tmp_path, a="one", b="two", c="three")
    config = toy_config(tmp_path)
    peer = Peer(prepare(config)[0], config, "one")
    begun = []
    for attempt in range(1, 5):
        begun.append(peer.claim().shards)
        peer.record(Event("closed", attempt, block="0"))
    assert begun == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_a_claim_that_is_being_written_is_not_taken_for_a_dead_one(run, config):
    one, two = Peer(run, config, "one"), Peer(run, config, "two")
    for block in ("1", "2", "3"):
        one.claims.take(block, 1)
    path = claim_path(run.claims, "0", 1)
    path.touch()
    two.watch.view = "beating"
    assert two.claim() is None
    assert "unreadable-0.1" in two.watch.asked
    path.write_bytes(msgspec.json.encode(one.identity))
    two.watch.asked.clear()
    assert two.claim() is None
    assert set(two.watch.asked) == {"one"}


def test_journals_are_not_read_again_for_blocks_that_are_known_to_be_done(tmp_path):
    write_inputs(tmp_path, **{f"s{n:03d}": "x" for n in range(400)})
    config = toy_config(tmp_path)
    run = prepare(config)[0]
    one, two = Peer(run, config, "one"), Peer(run, config, "two")
    blocks = two.order()
    one.claimer.apply(())
    finish_all(one, *(f"s{n:03d}" for n in range(399)))
    for block in range(399):
        one.claims.take(str(block), 1)
    claims = two.claimer.claim(lambda: blocks)
    assert next(claims).shards == ["s399"]
    assert two.num_reads == 1


def test_a_shard_with_very_many_attempts_can_still_be_held_back(run, config):
    peer = Peer(run, config, "one")
    peer.claimer.apply([Event("failed", 5000, "a", error="x")])
    assert peer.claim().shards == ["b"]


def test_the_fence_holds_where_it_cannot_be_told(run, config, monkeypatch):
    peer = Peer(run, config, "one")
    claim = peer.claim()
    assert peer.claimer.fence(claim)
    real = os.stat

    def fail(path, *args, **kwargs):
        if str(path).endswith(".2"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Stale"):
        peer.claimer.fence(claim)


def test_a_claim_in_a_run_directory_made_anew_is_not_ours(run, config):
    peer = Peer(run, config, "one")
    claim = peer.claim()
    path = claim_path(run.claims, claim.block, claim.attempt)
    path.unlink()
    assert not peer.claimer.fence(claim)
    path.write_text('{"name":"somebody else"}')
    assert not peer.claimer.fence(claim)


def test_shards_added_while_it_works_are_seen_with_the_resets_that_follow(run, config, tmp_path):
    peer = Peer(run, config, "one")
    write_inputs(tmp_path, a="other", e="five")
    prepare(toy_config(tmp_path, extend=True))
    finish_all(peer, "a", "b", "c", "d")
    peer.claimer.refresh()
    assert [peer.state.plan.ids[index] for index in peer.state.pending()] == ["e"]
    assert peer.state.plan.shard(0).inputs[0].size_bytes == 5


def test_new_shards_alone_are_found_once_all_others_are_ended(run, config, tmp_path):
    peer = Peer(run, config, "one")
    finish_all(peer, "a", "b", "c")
    write_inputs(tmp_path, e="five")
    claims = peer.claimer.claim(peer.order)
    assert next(claims).shards == ["d"]
    prepare(toy_config(tmp_path, extend=True))
    finish_all(peer, "d")
    assert next(claims).shards == ["e"]


def test_a_worker_stays_for_a_shard_that_is_only_held_back(run, config):
    one, two = Peer(run, config, "one"), Peer(run, config, "two")
    finish_all(two, "c", "d")
    assert one.claims.take("0", 1)
    two.watch.view = "beating"
    two.claimer._waits = WAITS._replace(backoff_s=0.2)
    two.record(Event("failed", 1, "b", error="not yet"))
    two.record(Event("closed", 1, block="1"))
    assert two.claim()[:2] == ("1", 2)


def test_an_attempt_whose_end_nobody_can_read_any_more_does_not_block_its_shard(run, config):
    one, two, three = (Peer(run, config, name) for name in ("one", "two", "three"))
    # Two took the second attempt, but its journal line about the first is damaged, and it is dead.
    assert one.claims.take("0", 1)
    assert two.claims.take("0", 2)
    claim = three.claim()
    assert (claim.block, claim.attempt) == ("1", 1)
    finish_all(three, "b", "c", "d")
    assert three.claim()[:2] == ("0", 3)


def test_waiting_for_a_live_successors_line_does_not_spin(run, config):
    one, two, three = (Peer(run, config, name) for name in ("one", "two", "three"))
    finish_all(three, "b", "c", "d")
    one.claims.take("0", 1)
    two.claims.take("0", 2)
    three.watch.check = lambda owner: "stale" if owner.name == "one" else "beating"
    assert three.claim() is None
    assert three.num_reads < 10


def test_a_worker_at_the_end_of_a_large_run_asks_little(tmp_path, monkeypatch):
    write_inputs(tmp_path, **{f"s{n:03d}": "x" for n in range(300)})
    config = toy_config(tmp_path)
    run, _ = prepare(config)
    busy = [Peer(run, config, f"w{n:03d}") for n in range(300)]
    for number, peer in enumerate(busy):
        assert peer.claims.take(str(number), 1)
    last = Peer(run, config, "last")
    last.watch.check = lambda owner: last.watch.asked.append(owner.name) or "unknown"
    calls, opened, rounds = [], [], 5
    real_link, real_open = os.link, JournalReader._new_data
    monkeypatch.setattr(os, "link", lambda *args: calls.append("link") or real_link(*args))
    monkeypatch.setattr(
        JournalReader, "_new_data", lambda self, n: opened.append(n) or real_open(self, n)
    )
    stop = iter([False] * (300 * rounds))
    last.claimer._should_stop = lambda: next(stop, True)
    last.claimer._waits = last.claimer._waits._replace(linger_s=60.0)
    assert last.claim() is None
    assert len(calls) == 300  # each block is tried once
    assert len(set(last.watch.asked)) == 64
    # All journals were read after 64 and 192 misses and at the end of the first round; then only
    # those of the owners it looks at.
    assert len(opened) <= 3 * 301 + rounds * 64
