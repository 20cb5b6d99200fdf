"""A launch without its models starts nothing."""

import shutil
from pathlib import Path

import pytest

from hpcpipe.__main__ import main
from hpcpipe.errors import SetupError
from tests.models import folders
from tests.toys.runs import TOYS, run_here, toy_config, write_inputs


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPCPIPE_CONF", str(TOYS))
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    write_inputs(tmp_path, a="one")


@pytest.mark.parametrize(
    "words", [(), ("-m",), ("-m", "launcher=local"), ("-m", "launcher=script")]
)
def test_nothing_is_made_without_the_model(tmp_path, capsys, words, monkeypatch):
    monkeypatch.setattr("hpcpipe.launch.slurm.check_available", lambda: 1000)
    assert main(["stage=modelled", "stage.input=in", "stage.model=org/llama", *words]) == 2
    error = capsys.readouterr().err
    assert f"model org/llama is not in the cache {tmp_path}/cache" in error
    assert "python -m hpcpipe fetch-models stage=modelled" in error
    assert not (tmp_path / "runs").exists()


def test_a_pipelines_later_models_are_looked_for_before_its_first_step(tmp_path, capsys):
    words = ("pipeline=modelled", "pipeline.input=in", "pipeline.output=out")
    assert main([*words, "pipeline.model=org/llama"]) == 2
    error = capsys.readouterr().err
    assert "step second: model org/llama is not in the cache" in error
    assert "python -m hpcpipe fetch-models pipeline=modelled" in error
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_complete_needs_its_model_no_more(tmp_path):
    folder = folders.write_model(tmp_path / "llama")
    config = toy_config(tmp_path, "modelled", stage__model=str(folder))
    assert run_here(config).exit_code == 0
    shutil.rmtree(folder)
    assert run_here(config).exit_code == 0
    write_inputs(tmp_path, b="two")
    with pytest.raises(SetupError, match="there is no such folder"):
        run_here(toy_config(tmp_path, "modelled", stage__model=str(folder), extend=True))


def test_a_folder_means_the_same_from_anywhere(tmp_path, monkeypatch):
    folders.write_model(tmp_path / "llama")
    near = toy_config(tmp_path, "modelled", stage__model="./llama")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    far = toy_config(tmp_path, "modelled", stage__model="../llama")
    assert near.stage.model == str(tmp_path / "llama")
    assert near.fingerprint == far.fingerprint
    assert (Path(run_here(near).run_dir) / "out" / "a.out").read_text() == "none"


def test_another_commit_under_the_same_name_is_told_when_a_run_goes_on(tmp_path, capsys):
    write_inputs(tmp_path, b="two")
    folders.write_model(folders.cached(tmp_path / "cache", "org/llama"))
    words = ["stage=modelled", "stage.input=in", "stage.model=org/llama", "stage.output=out"]
    assert main([*words, "limit=1"]) == 0
    folders.write_model(folders.cached(tmp_path / "cache", "org/llama", "f" * 40))
    assert main([*words]) == 0
    told = f"model org/llama was at {folders.COMMIT[:12]}, is at ffffffffffff"
    assert f"{told}. 1 finished shard stay as they are" in capsys.readouterr().err
    assert main(["status", "out"]) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert {path.read_text() for path in Path("out").glob("*.out")} == {folders.COMMIT, "f" * 40}
