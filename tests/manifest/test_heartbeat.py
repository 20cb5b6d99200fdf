import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hpcpipe.manifest.heartbeat import (
    BEAT_BYTES,
    Beat,
    Heartbeat,
    OwnerWatch,
    own_identity,
    process_runs,
    read_beat,
)


@pytest.fixture
def me():
    return own_identity("me-1", "me", 1)


def elsewhere(me, **changes):
    return msgspec.structs.replace(me, **{"name": "other-1", "machine": "another", **changes})


def write_beat(folder, name, counter, state="working"):
    beat = Beat(counter=counter, at=0.0, state=state)
    (folder / f"{name}.beat").write_bytes(msgspec.json.encode(beat).ljust(BEAT_BYTES))


def test_beats_until_it_ends(tmp_path):
    calls = []
    heart = Heartbeat(tmp_path / "w.beat", 0.01, lambda: calls.append(1))
    heart.start()
    heart.update(shard="00007", num_samples=3)
    deadline = time.monotonic() + 10
    while read_beat(tmp_path / "w.beat").counter < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read_beat(tmp_path / "w.beat").shard == "00007"
    heart.end("had enough")
    last = read_beat(tmp_path / "w.beat")
    assert (last.state, last.shard, last.note) == ("ended", "", "had enough")
    assert calls
    assert (tmp_path / "w.beat").stat().st_size == BEAT_BYTES


def test_a_very_long_note_still_gives_a_readable_beat(tmp_path):
    heart = Heartbeat(tmp_path / "w.beat", 10, lambda: None)
    heart.end("x" * 5000)
    assert read_beat(tmp_path / "w.beat").note.startswith("xxx")


def test_process_of_this_machine_is_looked_up(me):
    assert process_runs(me) is True
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = msgspec.structs.replace(
        me,
        pid=child.pid,
        start_ticks=int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]),
    )
    assert process_runs(identity) is True
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process_runs(identity) and time.monotonic() < deadline:  # a zombie is dead, too
        time.sleep(0.01)
    assert process_runs(identity) is False
    child.wait()
    assert process_runs(identity) is False


def test_a_reused_pid_is_another_process(me):
    assert process_runs(msgspec.structs.replace(me, start_ticks=me.start_ticks - 1)) is False


def test_processes_elsewhere_cannot_be_seen(me):
    assert process_runs(elsewhere(me)) is None


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
    now += 179
    assert watch.check(other) == "beating"
    now += 2
    assert watch.check(other) == "stale"


def test_one_long_gap_between_two_looks_is_not_enough(tmp_path, me, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = OwnerWatch(tmp_path, me, lease_s=180)
    write_beat(tmp_path, "other-1", 1)
    assert watch.check(elsewhere(me)) == "unknown"
    now += 1000
    assert watch.check(elsewhere(me)) == "unknown"  # two looks: the file may just be cached
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
    watch.check(elsewhere(me))
    assert watch.check(elsewhere(me)) == "stale"
