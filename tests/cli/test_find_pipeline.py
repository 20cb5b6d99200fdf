"""Which pipeline is meant by the folder that somebody names, and what `status` says of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hpcpipe.errors import SetupError
from hpcpipe.launch import pipeline as launch
from tests.cli.runs import verb
from tests.launch.test_pipeline import make_pipeline
from tests.toys.runs import run_here, write_inputs


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pair(tmp_path):
    """The output folder of two steps of which the first is complete, and the pipeline."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_inputs(folder, a="one")
    config, directory = make_pipeline(folder, paths__runs=str(tmp_path / "runs"))
    path = tmp_path / "runs" / "pair" / "0123"
    path.parent.mkdir(parents=True)
    directory.path.rename(path)
    run_here(config.steps[0].config)
    return folder, replace(config, path=str(path))


def shown(capsys, *args: str) -> dict:
    assert verb("status", *args, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_folder_of_its_outputs_is_the_pipeline(pair, capsys, monkeypatch):
    folder, config = pair
    capsys.readouterr()
    assert shown(capsys, "data")["pipeline_dir"] == config.path
    assert shown(capsys, f"{folder}/")["pipeline_dir"] == config.path
    monkeypatch.setenv("HPCPIPE_RUNS", str(folder / "elsewhere"))
    assert shown(capsys, str(folder))["pipeline_dir"] == config.path
    assert verb("retry", folder) == 0
    assert "step       first" in capsys.readouterr().out


def test_before_a_step_has_begun_it_is_found_by_what_the_runs_folder_knows(tmp_path, capsys):
    path = launch.open_directory(make_pipeline(tmp_path)[0])[0].path
    assert shown(capsys, str(tmp_path))["pipeline_dir"] == str(path)


def test_an_output_folder_in_it_is_still_the_run(pair, capsys):
    folder, config = pair
    capsys.readouterr()
    assert shown(capsys, str(folder / "one"))["run_dir"] == config.steps[0].config.run_dir


def test_a_verb_of_single_runs_names_those_of_the_pipeline(pair, capsys):
    folder, config = pair
    capsys.readouterr()
    assert verb("logs", folder) == 2
    error = capsys.readouterr().err
    assert f"{folder} is a pipeline; name one of its runs:" in error
    assert f"hpcpipe logs {Path(config.steps[0].config.run_dir).relative_to(Path.cwd())}" in error


def test_one_of_which_nothing_came_is_not_meant(pair, capsys):
    folder, config = pair
    steps = tuple(
        replace(step, config=replace(step.config, fingerprint="b", run_dir=f"{folder}/none"))
        for step in config.steps
    )
    other = replace(config, path=f"{config.path}-b", fingerprint="b", steps=steps)
    launch.open_directory(other)
    capsys.readouterr()
    for name in ("data", "pair"):
        assert shown(capsys, name)["pipeline_dir"] == config.path
    assert verb("cancel", "pair/0123-b") == 0
    assert capsys.readouterr().out == "nothing of this pipeline is queued or running\n"


def test_several_that_wrote_there_are_listed(pair, capsys):
    folder, config = pair
    other = launch.open_directory(replace(config, path=f"{config.path}-b", fingerprint="b"))[0]
    capsys.readouterr()
    assert verb("status", folder) == 2
    error = capsys.readouterr().err
    assert "could be one of these pipelines; name one of them:" in error
    assert {f"  {config.path}", f"  {other.path}"} <= set(error.splitlines())


def test_a_damaged_pipeline_does_not_hide_the_others(pair, tmp_path, capsys):
    folder, config = pair
    for part in ("jobs", "broken"):
        (tmp_path / "runs" / "pair" / "bad" / part).mkdir(parents=True)
    (tmp_path / "runs" / "pair" / "bad" / "pipeline.json").write_text("{")
    capsys.readouterr()
    assert shown(capsys, str(folder))["pipeline_dir"] == config.path


def test_a_remote_folder_is_found_by_its_name(tmp_path, capsys):
    config, _ = make_pipeline(tmp_path)
    steps = tuple(
        replace(step, config=replace(step.config, output=f"s3://bucket/hybrid/{step.name}"))
        for step in config.steps
    )
    other = replace(config, steps=steps, path=str(tmp_path / "runs" / "pair" / "far"))
    path = launch.open_directory(other)[0].path
    from hpcpipe.cli.find_pipeline import named_pipeline

    found = named_pipeline("s3://bucket/hybrid/", tmp_path / "runs")
    assert found is not None
    assert found.path == path
    assert named_pipeline("s3://bucket/other", tmp_path / "runs") is None


def test_status_says_why_the_workers_of_a_step_ended(tmp_path, capsys):
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path, stage__broken_setup=True)
    with pytest.raises(SetupError):
        run_here(config.steps[0].config)
    capsys.readouterr()
    assert verb("status", directory.path) == 0
    text = "first is incomplete\n  its workers ended early: SetupError: the model is missing\n"
    assert text in capsys.readouterr().out
    first, second = shown(capsys, str(directory.path))["steps"]
    assert (first["state"], second["reason"]) == ("incomplete", "")
