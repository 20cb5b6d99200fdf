"""What `status` shows while a run goes on and after it."""

import json
import os
import re
import subprocess
import sys
import time

import msgspec
import pytest

from hpcpipe.cli import samples_text
from hpcpipe.manifest.heartbeat import Beat, read_beat
from hpcpipe.manifest.journal import Event, JournalWriter
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.session import Session
from tests.cli.runs import begun_run, good_run, mixed_run, shard_at_hand, summary_of, verb, working
from tests.toys.runs import run_here, toy_config, write_inputs


@pytest.fixture(autouse=True)
def _runs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "80")


def test_a_finished_run(tmp_path, capsys):
    run_dir = good_run(tmp_path, "final")
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    assert "state      complete    [####" in shown
    assert "100.0%" in shown
    assert "shards     3 of 3 done\n" in shown
    assert "finalize   done" in shown
    assert "counted    samples_in 3" in shown
    assert "workers    1 ended" in shown
    assert "failures" not in shown
    assert "ETA" not in shown


def test_failures_are_grouped_with_the_log_and_the_way_on(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    assert "3 of 4 done, 1 quarantined" in shown
    assert "BadInputError: 1 quarantined" in shown
    assert "broken.txt: bad at byte 7" in shown
    assert f"log  {run_dir}/logs/here-1-0.log" in shown
    assert f"python -m hpcpipe retry {run_dir}" in shown
    assert "TransientShardError" not in shown  # that shard was done in the end


def test_all_shards_of_a_failure_are_named_as_far_as_they_fit(tmp_path, capsys):
    write_inputs(tmp_path, **{f"s{n:02d}": "bad" for n in range(14)}, fine="x")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    ids = ", ".join(f"s{n:02d}" for n in range(10))
    assert f"BadInputError: 14 quarantined\n    shards  {ids} and 4 more\n" in shown
    assert "once the inputs are mended; then launch it again" in shown
    assert summary_of(run_dir).failures[0].shards == [f"s{n:02d}" for n in range(10)]


def test_counters_that_counted_nothing_are_left_out(tmp_path):
    stats = {"samples_in": 12390, "samples_dropped": 0, "gigapixels": 0.0}
    summary = msgspec.structs.replace(summary_of(good_run(tmp_path)), stats=stats)
    assert samples_text.sample_lines(summary, 80) == ["counted    samples_in 12,390"]


def test_failures_of_the_machine_are_told_apart(tmp_path):
    write_inputs(tmp_path, a="enospc", b="enospc")
    run_dir = run_here(toy_config(tmp_path, run__max_env_failures=2)).run_dir
    (failure,) = summary_of(run_dir).failures
    assert (failure.error_class, failure.charged) == ("OSError", False)
    assert (failure.quarantined, failure.pending) == (0, 2)
    assert "No space left" in failure.example


def test_a_shard_that_keeps_killing_workers(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    run = RunDir(run_dir)
    state, _ = open_state(run, toy_config(tmp_path))
    writer = JournalWriter(run.journal / "lost-1.jsonl")
    block = state.block_name("a")
    writer.write(Event(event="reset", attempt=1, shard="a"))
    for attempt in range(2, 14):
        host = f"n{attempt % 2}"
        writer.write(
            Event(event="lost", attempt=attempt, block=block, owner=f"9_{attempt}-00", host=host)
        )
    writer.close()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    assert "WorkerLost: 1 quarantined" in shown
    assert "12 workers died over it, on n0, n1" in shown


def test_a_running_worker_has_a_line_that_fits(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    assert verb("retry", run_dir) == 0
    session = Session(RunDir(run_dir), "1234_7", 2, tmp_path, heartbeat_s=60)
    long_id = "part-0001/" + "x" * 100 + "/shard-000042"
    session.heartbeat.update(state="working", shard=long_id, shard_since=time.time() - 75)
    session.heartbeat._write()
    capsys.readouterr()
    try:
        assert verb("status", run_dir) == 0
        shown = capsys.readouterr().out
        tree = summary_of(run_dir)
    finally:
        session.close("SIGTERM")
    assert "state      running" in shown
    assert "ETA" in shown
    line = next(line for line in shown.splitlines() if "1234_7" in line)
    assert "1 min 15 s" in line
    assert line.endswith("/shard-000042")
    assert len(line) <= 80
    assert [view.state for view in tree.workers] == ["running", "ended"]
    assert verb("status", run_dir) == 0
    assert "1 ended early: SIGTERM" in capsys.readouterr().out


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_worker_elsewhere_is_judged_by_the_filesystems_clock_not_its_own(tmp_path, is_silent):
    run_dir = begun_run(tmp_path, a="one", b="two")
    (beat_path,) = run_dir.glob("workers/*.beat")
    identity = beat_path.with_suffix(".json")
    text = identity.read_text().replace('"machine":"', '"machine":"not ')
    identity.unlink()
    identity.write_text(text)
    # Its clock is an hour ahead where it fell silent, and an hour behind where it has not.
    beat = msgspec.structs.replace(
        read_beat(beat_path), state="working", at=time.time() + (3600 if is_silent else -3600)
    )
    beat_path.write_bytes(msgspec.json.encode(beat))
    if is_silent:
        os.utime(beat_path, (time.time() - 600, time.time() - 600))
    states = [view.state for view in summary_of(run_dir).workers]
    assert states == ["silent" if is_silent else "running"]


def test_killed_workers_are_silent(tmp_path):
    run_dir = good_run(tmp_path)
    (beat,) = (run_dir / "workers").glob("*.beat")
    still = Beat(counter=1, at=time.time(), state="working", shard="a")
    beat.write_bytes(msgspec.json.encode(still))
    identity = json.loads(beat.with_suffix(".json").read_bytes())
    identity["pid"], identity["start_ticks"] = 1, 1  # a process that is another one now
    beat.with_suffix(".json").unlink()
    beat.with_suffix(".json").write_text(json.dumps(identity))
    assert [view.state for view in summary_of(run_dir).workers] == ["silent"]


def test_json_has_everything(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    capsys.readouterr()
    assert verb("status", run_dir, "--json") == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["state"], tree["done"], tree["quarantined"]) == ("quarantined", 3, 1)
    assert tree["stats"] == {"samples_in": 3}
    assert tree["failures"][0]["shard"] == "broken"
    assert tree["workers"][0]["identity"]["label"] == "here-1-0"
    assert tree["launches"][0]["kind"] == "here"
    out = [path for path in (run_dir / "out").glob("*.out")]
    assert tree["bytes_out"] == sum(path.stat().st_size for path in out)


def test_a_part_that_may_fail_is_a_success(tmp_path):
    write_inputs(tmp_path, a="fine", b="bad")
    run_dir = run_here(toy_config(tmp_path, run__max_failed_fraction=0.5)).run_dir
    assert summary_of(run_dir).state == "complete"


def test_without_a_run_the_newest_are_listed_first(tmp_path, capsys):
    older = good_run(tmp_path, stage__word="x")
    newer = mixed_run(tmp_path, stage__word="y")
    (tmp_path / "runs" / "toy" / "damaged").mkdir()
    (tmp_path / "runs" / "toy" / "damaged" / "run.json").write_text("{}")
    (tmp_path / "runs" / "toy" / "damaged" / "launches").mkdir()
    capsys.readouterr()
    assert verb("status") == 0
    damaged, first, second = capsys.readouterr().out.splitlines()
    assert "unreadable" in damaged
    assert first.split()[2:] == ["toy", newer.name, "quarantined", "4/5", str(newer)]
    assert second.split()[2:] == ["toy", older.name, "complete", "3/3", str(older)]


def test_no_runs(capsys):
    assert verb("status") == 0
    assert "no runs in" in capsys.readouterr().out


def test_the_runs_folder_of_the_users_own_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_dir = good_run(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "other")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("paths:\n  runs: other\n")
    capsys.readouterr()
    assert verb("status") == 0
    assert f"other/toy/{run_dir.name}" in capsys.readouterr().out


def test_another_verb_without_a_run_lists_them_too(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    for args in (["retry"], ["status", "--json"], ["status", "--watch"]):
        assert verb(*args) == 2
        shown = capsys.readouterr().err
        assert f"python -m hpcpipe {args[0]} RUN" in shown
        assert str(run_dir) in shown


def test_watch_follows_a_run_to_its_end(tmp_path):
    gate = tmp_path / "gate"
    run_dir = begun_run(tmp_path, a="fine", b=f"gate {gate}", c="fine")
    with working(run_dir) as worker:
        assert shard_at_hand(run_dir) == "b"
        command = [sys.executable, "-m", "hpcpipe", "status", run_dir, "--watch", "0.2"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watching:
            shown = next(line for line in watching.stdout if line.startswith("state"))
            gate.touch()
            rest, errors = watching.communicate(timeout=60)
        assert worker.wait(30) == 0
    assert (watching.returncode, errors) == (0, "")
    states = [line.split()[1] for line in (shown + rest).splitlines() if line[:5] == "state"]
    assert states[0] == "running"
    assert states[-1] == "complete"
    assert "\x1b" not in shown + rest


def test_watch_wants_a_time(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        verb("status", "--watch", "runs/x")
    assert stop.value.code == 2
    assert "give seconds" in capsys.readouterr().err


def test_a_reset_takes_the_numbers_of_a_shard_away(tmp_path):
    run_dir = good_run(tmp_path)
    before = summary_of(run_dir)
    assert verb("retry", run_dir, "--shard", "a") == 0
    after = summary_of(run_dir)
    assert before.stats == {"samples_in": 3}
    assert after.stats == {"samples_in": 2}
    assert after.bytes_out < before.bytes_out
    assert verb("work", run_dir) == 0
    assert summary_of(run_dir).stats == {"samples_in": 3}


@pytest.mark.parametrize(
    ("is_older", "what"),
    [(True, r"it has no run\.max_lost"), (False, r"it has run\.haste, site\.moon")],
)
def test_a_run_of_another_version_says_so_and_is_taken_on_by_launching_it(
    tmp_path, capsys, is_older, what
):
    config = toy_config(tmp_path)
    run_dir = good_run(tmp_path)
    path = run_dir / "launches" / "1.yaml"
    text = path.read_text()
    newer = text.replace("run:\n", "run:\n  haste: 3\n").replace("site:\n", "site:\n  moon: 1\n")
    path.write_text(text.replace("  max_lost: 10\n", "") if is_older else newer)
    for name in ("status", "work"):
        assert verb(name, run_dir) == 2
        said = capsys.readouterr().err
        assert "yaml was stored by another version of hpcpipe (this is " in said
        assert re.search(what, said)
        assert "Launch the run again with the same command" in said
    assert run_here(config).exit_code == 0
    assert verb("status", run_dir) == 0
