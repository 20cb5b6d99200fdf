"""Which run a name means."""

from pathlib import Path

import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import find_run, list_runs, read_options
from tests.toys.runs import run_here, toy_config, write_inputs


@pytest.fixture
def folder(tmp_path):
    """The folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of stage toy in the folder of runs: ``first-...`` and ``final-...``."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path, a="one")
    return [
        run_here(toy_config(tmp_path, run_name=name, stage__word=name)).run_dir
        for name in ("first", "final")
    ]


def test_by_path_name_and_beginning(runs, folder):
    for name in (str(runs[0]), runs[0].name, f"toy/{runs[0].name}", "fir", "toy/fir"):
        assert find_run(name, folder).path == runs[0]


def test_a_beginning_of_several(runs, folder):
    with pytest.raises(RunMismatchError, match="could be one of these runs") as raised:
        find_run("fi", folder)
    assert all(str(run) in str(raised.value) for run in runs)


def test_no_such_run_names_the_nearest(runs, folder):
    with pytest.raises(RunMismatchError, match=f"Did you mean {runs[0].name}"):
        find_run(runs[0].name.replace("first", "firts"), folder)


def test_by_an_output_folder(runs, tmp_path, folder):
    config = toy_config(tmp_path, stage__output=str(tmp_path / "out"))
    run_dir = run_here(config).run_dir
    assert find_run("out", folder).path == run_dir
    assert find_run(str(tmp_path / "out") + "/", folder).path == run_dir


def test_an_output_folder_of_several_runs(runs, tmp_path, folder):
    for name in ("toy", "final"):
        config = toy_config(tmp_path, name, stage__output=str(tmp_path / "out"), adopt=True)
        run_here(config)
    with pytest.raises(RunMismatchError, match=r"several runs made out(.|\n)*\(final\)"):
        find_run("out", folder)


def test_an_output_folder_whose_run_is_gone(runs, tmp_path, folder):
    run_dir = run_here(toy_config(tmp_path, stage__output=str(tmp_path / "out"))).run_dir
    run_dir.rename(tmp_path / "elsewhere")
    with pytest.raises(RunMismatchError, match=r"which is gone.*adopt=true"):
        find_run("out", folder)


def test_a_folder_that_is_nothing_of_ours(tmp_path, folder):
    with pytest.raises(RunMismatchError, match="neither a run directory"):
        find_run(str(tmp_path), folder)


def test_the_folder_above_output_folders_names_them(tmp_path, folder):
    """As that of a pipeline."""
    write_inputs(tmp_path, a="one")
    for name in ("shards", "index"):
        run_here(toy_config(tmp_path, stage__output=str(tmp_path / "packed" / name)))
    packed = tmp_path / "packed"
    shown = rf"output folders in it:\n  {packed}/index\n  {packed}/shards$"
    with pytest.raises(RunMismatchError, match=shown):
        find_run(str(packed), folder)


def test_a_remote_output_folder(tmp_path, s3_bucket, folder):
    write_inputs(tmp_path, a="one")
    run_dir = run_here(toy_config(tmp_path, stage__output=f"{s3_bucket}/out")).run_dir
    assert find_run(f"{s3_bucket}/out", folder).path == run_dir


def test_the_last_launched_is_listed_first(runs, tmp_path):
    assert list_runs(tmp_path / "runs") == runs[::-1]
    assert list_runs(tmp_path / "nowhere") == []


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
