import time

import msgspec
import pytest

from hpcpipe.manifest.heartbeat import BEAT_BYTES, Beat
from hpcpipe.manifest.identity import own_identity
from hpcpipe.manifest.owners import OwnerWatch


@pytest.fixture
def me():
    return own_identity("me-1", "me", 1)


def elsewhere(me, **changes):
    return msgspec.structs.replace(me, **{"name": "other-1", "machine": "another", **changes})


def write_beat(folder, name, counter, state="working"):
    beat = Beat(counter=counter, at=0.0, state=state)
    (folder / f"{name}.beat").write_bytes(msgspec.json.encode(beat).ljust(BEAT_BYTES))


def test_dead_process_is_stale_at_once(tmp_path, me):
    watch = OwnerWatch(tmp_path, me, lease_s=1000)
    other = msgspec.structs.replace(me, name="other-1", start_ticks=me.start_ticks - 1)
    assert watch.check(other) == "stale"


def test_older_incarnation_of_the_same_job_is_stale_at_once(tmp_path, me):
    own = msgspec.structs.replace(me, job="12", restart=1)
    watch = OwnerWatch(tmp_path, own, lease_s=1000)
    write_beat(tmp_path, "other-1", 1)
    assert watch.check(elsewhere(me, job="12", restart=0)) == "stale"
    assert watch.check(elsewhere(me, job="13", restart=0)) == "unknown"


def test_a_counter_that_moves_is_alive_and_one_that_stands_is_stale_after_the_lease(
    tmp_path, me, monkeypatch
):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch, other = OwnerWatch(tmp_path, me, lease_s=180), elsewhere(me)
    write_beat(tmp_path, "other-1", 1)
    assert watch.check(other) == "unknown"
    write_beat(tmp_path, "other-1", 2)
    assert watch.check(other) == "beating"
    for _ in range(179):
        now += 1
        assert watch.check(other) == "beating"
    now += 1
    assert watch.check(other) == "stale"


def test_time_in_which_nobody_looked_is_not_held_against_the_owner(tmp_path, me, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = OwnerWatch(tmp_path, me, lease_s=180)
    write_beat(tmp_path, "other-1", 1)
    assert watch.check(elsewhere(me)) == "unknown"
    # The filesystem hung or both were suspended: the other cannot have beaten any more than we
    # have looked.
    now += 1000
    assert watch.check(elsewhere(me)) == "unknown"
    now += 80
    assert watch.check(elsewhere(me)) == "unknown"
    now += 10
    assert watch.check(elsewhere(me)) == "stale"


def test_a_worker_that_said_it_ended_is_stale(tmp_path, me):
    write_beat(tmp_path, "other-1", 9, state="ended")
    assert OwnerWatch(tmp_path, me, 1000).check(elsewhere(me)) == "stale"


def test_a_missing_heartbeat_runs_out(tmp_path, me, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = OwnerWatch(tmp_path, me, lease_s=10)
    assert watch.check(elsewhere(me)) == "unknown"
    now += 11
    assert watch.check(elsewhere(me)) == "unknown"
    now += 5
    assert watch.check(elsewhere(me)) == "stale"
