"""Run directories that are moved: with and without an output folder of their own, and under way."""

import shutil

import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import find_run
from tests.cli.runs import shard_at_hand, verb, working
from tests.toys.runs import events_of, run_here, toy_config, write_inputs


def begun(folder, **values):
    """A run with one of three shards done, moved elsewhere; returns its new place."""
    write_inputs(folder, a="one", b="two", c="three")
    old = run_here(toy_config(folder, limit=1, **values)).run_dir
    new = folder / "elsewhere" / "mine"
    new.parent.mkdir()
    shutil.move(old, new)
    return old, new


def outputs(folder):
    return sorted(path.name for path in folder.glob("*.out"))


def test_outputs_in_the_run_directory_move_with_it(tmp_path):
    old, new = begun(tmp_path)
    assert verb("work", new) == 0
    assert outputs(new / "out") == ["a.out", "b.out", "c.out"]
    assert not old.exists()
    assert verb("verify", new, "--deep") == 0
    assert RunDir(new).info.output == str(new / "out")
    assert find_run(str(new / "out"), tmp_path).path == new


def test_a_moved_run_is_launched_again_and_retried_where_it_is(tmp_path):
    write_inputs(tmp_path, d="bad")
    old, new = begun(tmp_path)
    config = toy_config(tmp_path, run_dir=str(new))
    assert run_here(config).exit_code == 3
    write_inputs(tmp_path, d="mended")
    assert verb("retry", new) == 0
    assert run_here(config).exit_code == 0
    assert outputs(new / "out") == ["a.out", "b.out", "c.out", "d.out"]
    assert not old.exists()


def test_the_output_folder_learns_where_its_run_is_now(tmp_path):
    named = {"stage__output": str(tmp_path / "out")}
    _, new = begun(tmp_path, **named)
    with pytest.raises(
        RunMismatchError, match=r"which is gone.*moved, name its new place with run"
    ):
        run_here(toy_config(tmp_path, **named))
    assert run_here(toy_config(tmp_path, run_dir=str(new), **named)).exit_code == 0
    assert run_here(toy_config(tmp_path, **named)).run_dir == new
    assert len(events_of(new, "done")) == 3
    assert outputs(tmp_path / "out") == ["a.out", "b.out", "c.out"]


def test_the_files_of_a_moved_run_are_not_taken_silently(tmp_path, capsys):
    begun(tmp_path, stage__output=str(tmp_path / "out"))
    run_here(toy_config(tmp_path, stage__input=str(tmp_path / "out" / "*.out")))
    assert "which is gone or closed to you: its files are taken as" in capsys.readouterr().err


def test_a_worker_whose_run_is_moved_stops_with_a_reason(tmp_path):
    write_inputs(tmp_path, a="one", b="slow 1", c="slow 1")
    old = run_here(toy_config(tmp_path, limit=1)).run_dir
    new = tmp_path / "moved"
    with working(old) as process:
        shard_at_hand(old)
        old.rename(new)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"error: run directory {old} was moved or removed" in shown
    assert "run_dir=PLACE" in shown
    assert "Traceback" not in shown
    assert not old.exists()
    assert verb("work", new) == 0
    assert outputs(new / "out") == ["a.out", "b.out", "c.out"]
    assert events_of(new, "failed") == []
