import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.launch import place
from hpcpipe.launch import prepare as preparing
from hpcpipe.launch.prepare import prepare
from tests.toys.runs import events_of, run_here, toy_config, write_inputs


def test_the_same_command_from_two_folders_at_once_makes_one_run(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    output = str(tmp_path / "out")
    here = toy_config(tmp_path, stage__output=output)
    there = toy_config(tmp_path, stage__output=output, paths__runs=str(tmp_path / "other"))
    real, made = preparing.write_plan, []

    def other_first(path, shards):
        if not made:  # the other command comes in between looking for a run and making one
            made.append(None)
            made.append(prepare(there)[0])
        return real(path, shards)

    monkeypatch.setattr(preparing, "write_plan", other_first)
    with pytest.raises(RunMismatchError, match=r"just taken by run .*/other/.*try again"):
        prepare(here)
    assert not list((tmp_path / "runs" / "toy").iterdir())
    assert prepare(here)[0].path == made[1].path


def test_files_that_the_same_command_makes_meanwhile_are_of_the_same_run(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path)
    real, made = preparing.planned, []

    def other_first(*args):
        if not made:
            made.append(None)
            made.append(run_here(config))
        return real(*args)

    monkeypatch.setattr(preparing, "planned", other_first)
    run, how = prepare(config)
    assert (run.path, how) == (made[1].run_dir, "resumed")
    assert [event.shard for event in events_of(run.path, "done")] == ["a"]


def test_a_run_that_appears_while_its_place_is_looked_at_is_gone_on_with(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, run_dir=str(tmp_path / "run"))
    real, made = place.is_run_dir, []

    def other_after(path):
        is_there = real(path)
        if not made:
            made.append(None)
            made.append(prepare(config)[1])
        return is_there

    monkeypatch.setattr(place, "is_run_dir", other_after)
    assert prepare(config)[1] == "resumed"
    assert made == [None, "new"]


def test_a_run_that_is_not_seen_at_first_is_no_folder_of_something_else(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, run_dir=str(tmp_path / "run"))
    prepare(config)
    monkeypatch.setattr(place, "is_run_dir", lambda path: False)
    assert prepare(config)[1] == "resumed"
