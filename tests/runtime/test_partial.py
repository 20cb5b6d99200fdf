"""Progress inside a shard: what a later attempt finds, and when it goes."""

import os
import signal
import time
from pathlib import Path

import pytest

from hpcpipe.manifest.plan import Plan, write_plan
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.partial import Partials, orphans, partial_name
from hpcpipe.stage import Shard
from tests.cli.runs import begun_run, verb
from tests.manifest.test_state import done, reset
from tests.toys.runs import events_of, run_here, toy_config, write_inputs


def saved(root, name, attempt, text="x"):
    folder = Partials(root, name, attempt).own()
    (folder / "state").write_text(text)
    return folder


def test_nothing_is_made_or_looked_for_before_it_is_asked_for(tmp_path):
    write_inputs(tmp_path, a="one", b="flaky 2")
    config = toy_config(tmp_path)
    assert run_here(config).exit_code == 0
    assert not (Path(config.run_dir) / "partial").exists()


def test_the_newest_earlier_attempt_that_saved_something_is_found(tmp_path):
    root = tmp_path / "partial"
    assert Partials(root, "7", 9).previous() is None
    first, third = saved(root, "7", 1), saved(root, "7", 3)
    saved(root, "7", 9)
    saved(root, "77", 5)
    saved(root, "263", 6)  # in the same folder of the fan-out
    Partials(root, "7", 4).own()
    (Partials(root, "7", 5).own() / ".half").touch()
    assert Partials(root, "7", 9).previous() == third
    assert Partials(root, "7", 3).previous() == first
    assert Partials(root, "7", 1).previous() is None
    assert Partials(root, "7", 9, forgotten=3).previous() is None


def test_done_removes_it_and_what_older_attempts_left_but_no_younger_one(tmp_path):
    root = tmp_path / "partial"
    folders = [saved(root, "7", attempt) for attempt in (1, 2, 3)]
    other = saved(root, "263", 1)
    Partials(root, "7", 2).remove()
    assert [folder.exists() for folder in (*folders, other)] == [False, False, True, True]
    Partials(root, "8", 2).remove()


def test_what_counts_as_saved(tmp_path):
    one = Partials(tmp_path, "7", 1)
    assert not one.has_saved()
    (one.own() / ".half").touch()
    assert not one.has_saved()
    (one.own() / "state").touch()
    assert one.has_saved()


def test_a_run_directory_that_is_gone_is_not_made_anew(tmp_path):
    with pytest.raises(FileNotFoundError):
        Partials(tmp_path / "run" / "partial", "7", 1).own()
    assert not (tmp_path / "run").exists()


def test_orphans_are_those_nobody_would_go_on_from(tmp_path):
    write_plan(tmp_path / "plan.jsonl", [Shard(i) for i in "abcd"])
    state = RunState(Plan(tmp_path, 1), 3, 10)
    assert partial_name(state.plan, "c") == "2"
    root = tmp_path / "partial"
    assert list(orphans(root, state)) == []
    of_done, old, kept = saved(root, "0", 1), saved(root, "1", 1), saved(root, "1", 2)
    empty = Partials(root, "1", 3).own()
    of_reset = saved(root, "2", 1)
    last = saved(root, "@finalize", 1)
    state.apply([done("a", 1), reset("c", 1)])
    assert set(orphans(root, state)) == {of_done, old, empty, of_reset}
    assert kept.exists()
    assert last.exists()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_shard_goes_on_where_the_last_attempt_stopped(tmp_path, how):
    run_dir = begun_run(tmp_path, a="x", b="steps 40 0.02")
    config = toy_config(tmp_path)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            run_here(config)
        finally:
            os._exit(0)  # never on into pytest
    until = time.monotonic() + 30
    while not (state := list(run_dir.glob("partial/*/1.1/steps"))) or int(state[0].read_text()) < 5:
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT if how == "stopped" else signal.SIGKILL)
    os.waitpid(pid, 0)
    saved = int(state[0].read_text())
    assert run_here(config).exit_code == 0
    (event,) = [e for e in events_of(run_dir, "done") if e.shard == "b"]
    assert event.stats["steps_before"] == saved
    assert event.stats["steps_taken"] == 40 - saved
    assert list(run_dir.glob("partial/*/*")) == []
    assert (run_dir / "out" / "b.out").read_text() == "hello STEPS 40 0.02"


def test_clean_removes_orphans_and_keeps_what_the_next_attempt_needs(tmp_path, capsys):
    run_dir = begun_run(tmp_path, a="x", b="steps 40 0.02", c="y")
    orphan, needed = saved(run_dir / "partial", "0", 1), saved(run_dir / "partial", "1", 1, "39")
    (needed / "state").rename(needed / "steps")
    assert verb("clean", run_dir, "--dry-run") == 0
    assert f"{orphan}" in capsys.readouterr().out
    assert verb("clean", run_dir) == 0
    assert not orphan.exists()
    assert (needed / "steps").exists()
