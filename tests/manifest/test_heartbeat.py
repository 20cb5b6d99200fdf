import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hpcpipe.manifest.heartbeat import BEAT_BYTES, Heartbeat, read_beat
from hpcpipe.manifest.identity import own_identity, process_runs
from hpcpipe.manifest.usage import Usage


@pytest.fixture
def me():
    return own_identity("me-1", "me", 1)


def elsewhere(me, **changes):
    return msgspec.structs.replace(me, **{"name": "other-1", "machine": "another", **changes})


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


def test_texts_of_any_length_and_kind_never_cost_the_figures(tmp_path):
    used = Usage(*[1234567890.123] * 5, *[1 << 60] * 5)
    heart = Heartbeat(tmp_path / "w.beat", 10, lambda: None, lambda: used)
    for text in (
        "x" * 5000,
        "\N{SNOWMAN}" * 5000,
        "\N{GRINNING FACE}" * 400,
        '"\\' * 900,
        "\1" * 500,
    ):
        heart.update(shard=text, note=text)
        heart.beat_now()
        beat = read_beat(tmp_path / "w.beat")
        assert beat.used == used
        assert beat.shard
        assert text.startswith(beat.shard)
        assert (tmp_path / "w.beat").stat().st_size == BEAT_BYTES


def test_counters_are_cut_to_the_largest_and_texts_and_figures_stay(tmp_path):
    used = Usage(*[1234567890.123] * 5, *[1 << 60] * 5)
    heart = Heartbeat(tmp_path / "w.beat", 10, lambda: None, lambda: used)
    stats = {f"{'x' * 58}{number:06}": number + (1 << 40) for number in range(64)}
    heart.update(shard="part-1/0042", remark="slow " * 40, stats=stats, num_samples=1 << 60)
    heart.beat_now()
    beat = read_beat(tmp_path / "w.beat")
    assert (tmp_path / "w.beat").stat().st_size == BEAT_BYTES
    assert (beat.used, beat.num_samples, beat.shard) == (used, 1 << 60, "part-1/0042")
    assert beat.remark == "slow " * 40
    assert beat.stats == dict(list(stats.items())[-len(beat.stats) :][::-1])
    assert len(beat.stats) >= 32


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


def test_a_process_that_another_user_hides_is_not_taken_for_dead(me, monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr("hpcpipe.manifest.identity._start_ticks", lambda pid: None)
    assert process_runs(me) is None
