"""What `retry` makes pending again."""

import time

import pytest

from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.session import Session
from tests.cli.runs import good_run, mixed_run, verb
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs


def test_quarantined_shards_are_retried_once_mended(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    config = toy_config(tmp_path)
    capsys.readouterr()
    assert verb("retry", run_dir) == 0
    shown = capsys.readouterr().out
    assert "reset      1 shard\n" in shown
    assert f"python -m hpcpipe work {run_dir}" in shown
    assert state_of(run_dir, config).counts() == {"done": 3, "pending": 1, "quarantined": 0}
    assert verb("work", run_dir) == 0
    assert state_of(run_dir, config).counts() == {"done": 3, "pending": 0, "quarantined": 1}


def test_nothing_to_retry(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("retry", run_dir, "--failed") == 0
    shown = capsys.readouterr().out
    assert "nothing to retry" in shown
    assert "retry_failed" not in shown
    assert events_of(run_dir, "reset") == []


def test_samples_that_failed_inside_finished_shards_are_told_how_to_be_tried_again(
    tmp_path, capsys
):
    there = tmp_path / "there"
    there.touch()
    write_inputs(tmp_path, a=f"tell {there}")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    capsys.readouterr()
    assert verb("retry", run_dir) == 0
    shown = capsys.readouterr().out
    assert "9 samples failed inside finished shards" in shown
    assert "retry_failed=true" in shown


def test_named_shards_are_redone_whatever_their_state(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    (run_dir / "out" / "b.out").write_text("spoiled")
    assert verb("retry", run_dir, "--shard", "b", "--shard", "a") == 0
    assert "2 shards (2 of them done before, to be redone)" in capsys.readouterr().out
    assert run_here(toy_config(tmp_path)).exit_code == 0
    assert (run_dir / "out" / "b.out").read_text() == "hello TWO"
    assert len(events_of(run_dir, "done")) == 5


def test_all_of_them_and_the_last_step(tmp_path, capsys):
    run_dir = good_run(tmp_path, "final")
    assert verb("retry", run_dir, "--all") == 0
    assert "3 shards (3 of them done before" in capsys.readouterr().out
    state = state_of(run_dir, toy_config(tmp_path, "final"))
    assert state.counts()["pending"] == 3
    assert not state.is_done(FINALIZE)


def test_an_unknown_shard_changes_nothing(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("retry", run_dir, "--shard", "a", "--shard", "nope") == 2
    assert "the run has no shard nope: ids look like a" in capsys.readouterr().err
    assert events_of(run_dir, "reset") == []


def test_choices_exclude_each_other(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        verb("retry", "x", "--all", "--failed")
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_running_workers_take_reset_shards(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    session = Session(RunDir(run_dir), "9_1", 1, tmp_path, heartbeat_s=60)
    session.heartbeat.update(state="working", shard="c", shard_since=time.time())
    session.heartbeat._write()
    capsys.readouterr()
    try:
        assert verb("retry", run_dir, "--shard", "c") == 0
    finally:
        session.close("")
    shown = capsys.readouterr().out
    assert "1 running worker will do them too" in shown
    assert "1 shard at hand will be done once more" in shown
    assert "go on" not in shown


def test_a_failed_last_step_is_retried_alone(tmp_path, capsys):
    write_inputs(tmp_path, a="bad")
    config = toy_config(tmp_path, "final", run__max_failed_fraction=1)
    run_dir = run_here(config).run_dir
    assert verb("retry", run_dir) == 0
    assert "reset      1 shard" in capsys.readouterr().out
    assert {event.shard for event in events_of(run_dir, "reset")} == {"a", FINALIZE}
