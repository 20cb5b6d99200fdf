"""Which run a name means."""

from pathlib import Path

import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import find_run, list_runs, read_options, runs_folder
from tests.toys.runs import run_here, toy_config, write_inputs


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of stage toy in the runs folder: ``first-...`` and ``final-...``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    write_inputs(tmp_path, a="one")
    return [
        run_here(toy_config(tmp_path, run_name=name, stage__word=name)).run_dir
        for name in ("first", "final")
    ]


def test_by_path_name_and_beginning(runs):
    for name in (str(runs[0]), runs[0].name, f"toy/{runs[0].name}", "fir", "toy/fir"):
        assert find_run(name).path == runs[0]


def test_a_beginning_of_several(runs):
    with pytest.raises(RunMismatchError, match="could be one of these runs") as raised:
        find_run("fi")
    assert all(str(run) in str(raised.value) for run in runs)


def test_no_such_run_names_the_nearest(runs):
    with pytest.raises(RunMismatchError, match=f"Did you mean {runs[0].name}"):
        find_run(runs[0].name.replace("first", "firts"))


def test_by_an_output_folder(runs, tmp_path):
    config = toy_config(tmp_path, stage__output=str(tmp_path / "out"))
    run_dir = run_here(config).run_dir
    assert find_run("out").path == run_dir
    assert find_run(str(tmp_path / "out") + "/").path == run_dir


def test_an_output_folder_of_several_runs(runs, tmp_path):
    for name in ("toy", "final"):
        config = toy_config(tmp_path, name, stage__output=str(tmp_path / "out"), adopt=True)
        run_here(config)
    with pytest.raises(RunMismatchError, match=r"several runs made out(.|\n)*\(final\)"):
        find_run("out")


def test_an_output_folder_whose_run_is_gone(runs, tmp_path):
    run_dir = run_here(toy_config(tmp_path, stage__output=str(tmp_path / "out"))).run_dir
    run_dir.rename(tmp_path / "elsewhere")
    with pytest.raises(RunMismatchError, match="which is gone"):
        find_run("out")


def test_a_folder_that_is_nothing_of_ours(tmp_path):
    with pytest.raises(RunMismatchError, match="neither a run directory"):
        find_run(str(tmp_path))


def test_a_remote_output_folder(tmp_path, s3_bucket):
    write_inputs(tmp_path, a="one")
    run_dir = run_here(toy_config(tmp_path, stage__output=f"{s3_bucket}/out")).run_dir
    assert find_run(f"{s3_bucket}/out").path == run_dir


def test_the_last_launched_is_listed_first(runs, tmp_path):
    assert list_runs(tmp_path / "runs") == runs[::-1]
    assert list_runs(tmp_path / "nowhere") == []


def test_the_runs_folder_of_the_users_own_configuration(runs, tmp_path):
    assert runs_folder() == tmp_path / "runs"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("paths:\n  runs: other\n")
    assert runs_folder() == tmp_path / "other"


def test_options_are_those_of_the_last_launch(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    run_dir = run_here(toy_config(tmp_path, limit=1)).run_dir
    run_here(toy_config(tmp_path, run__max_attempts=9))
    assert read_options(RunDir(run_dir)).max_attempts == 9


def test_options_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIES", "7")
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, run__max_attempts="${oc.decode:${oc.env:TRIES}}")
    run = RunDir(Path(run_here(config).run_dir))
    assert "TRIES" in (run.path / "config.yaml").read_text()
    assert read_options(run).max_attempts == 7
