"""Composing and starting runs, with what Hydra says put into our words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcpipe
from hpcpipe.__main__ import main
from hpcpipe.compose.api import compose_run
from hpcpipe.compose.app import compose, split_arguments
from hpcpipe.config import Config
from hpcpipe.errors import ConfigError
from tests.compose.launcher import launcher
from tests.user_project import project

__all__ = ["launcher", "project"]


def test_flags_and_overrides_come_in_any_order(project, launcher):
    assert main(["stage=lines", "-m", "stage.input=x", "launcher=local", "limit=3"]) == 0
    (config,) = launcher.configs
    assert (launcher.modes, config.stage_name, config.limit) == (["submit"], "lines", 3)
    assert config.launcher.kind == "local"
    assert config.resources.gpus == 1, "the stage's own defaults choose its resources"
    assert config.stage.input == f"{project}/x"


def test_the_command_line_beats_the_stages_choice_of_resources(project, launcher):
    assert main(["stage=lines", "stage.input=x", "resources=cpu", "resources.time_min=5"]) == 0
    assert launcher.modes == ["here"]
    assert (launcher.configs[0].resources.gpus, launcher.configs[0].resources.time_min) == (0, 5)


def test_options_of_submitit_need_no_plus(project, launcher):
    assert main(["stage=lines", "stage.input=x", "-m", "launcher.slurm.comment=hello"]) == 0
    assert launcher.configs[0].launcher.slurm == {"comment": "hello"}


def test_a_sweep_is_one_run_for_each_value(project, launcher):
    launcher.codes = {"b": 4}
    assert main(["stage=lines", "stage.input=a,b", "stage.mode=lines,words", "-m"]) == 4
    seen = [(config.stage.input[-1], config.stage.mode) for config in launcher.configs]
    assert seen == [("a", "lines"), ("a", "words"), ("b", "lines"), ("b", "words")]
    assert len({config.run_dir for config in launcher.configs}) == 4
    assert len({config.output for config in launcher.configs}) == 4


def test_a_sweep_starts_nothing_when_one_of_its_runs_is_wrong(project, launcher, capsys):
    assert main(["stage=lines", "stage.input=a", "stage.mode=lines,letters", "-m"]) == 2
    assert launcher.configs == []
    expected = "error: stage.mode: expected lines or words, got str 'letters'\n"
    assert capsys.readouterr().err == expected


def test_a_sweep_goes_on_after_a_run_that_cannot_start(project, launcher, capsys):
    args = ["stage=lines", "stage.input=a", "run_name=unplannable", "-m"]
    assert main([*args, "stage.mode=words,lines"]) == 2
    assert len(launcher.configs) == 2
    assert "error: unplannable: nothing to do" in capsys.readouterr().err


def test_runs_of_a_sweep_may_not_share_an_output(project, launcher, capsys):
    args = ["stage=lines", "stage.input=a,b", "-m"]
    assert main([*args, "stage.output=out"]) == 2
    assert "stage.output: several of these runs would use" in capsys.readouterr().err
    assert main([*args, "stage.output=out/${run_name}"]) == 0
    assert len({config.output for config in launcher.configs}) == 2


def test_waiting_follows_the_submitted_runs_and_takes_their_code(project, launcher):
    assert main(["stage=lines", "stage.input=a,b", "-m", "wait=true"]) == 3
    assert launcher.followed == [Path(config.run_dir) for config in launcher.configs]
    assert main(["stage=lines", "stage.input=a", "wait=true"]) == 0


def test_nothing_is_written_where_the_user_is(project, launcher):
    before = sorted(path.name for path in project.rglob("*") if "__pycache__" not in path.parts)
    assert main(["stage=lines", "stage.input=a,b", "-m"]) == 0
    after = sorted(path.name for path in project.rglob("*") if "__pycache__" not in path.parts)
    assert before == after


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["stage=lnies"], "stage=lnies: no such stage (did you mean lines?); there are: "),
        (["stage.input=x"], "stage=NAME is missing; the stages are: "),
        (["stage=null"], "stage=NAME is missing"),
        (["stage=../stage/lines", "stage.input=x"], "not the plain name of a stage"),
        (["lines"], "lines is a stage: write stage=lines"),
        (["statsu"], "statsu: no such verb (did you mean status?)"),
        (["stage=lines", "stage.input"], "stage.input: expected KEY=VALUE"),
        (["stage=lines", "--fast"], "--fast: no such flag"),
        (["stage=lines"], "stage.input is required: add stage.input=VALUE"),
        (["stage=lines", "stage.treads=1"], "stage.treads: no such option (did you mean threads?)"),
        (["stage=lines", "stage.input=x", "+stage.foo=1"], "stage.foo: no such option; there are"),
        (["stage=lines", "run.max_atempts=1"], "run.max_atempts: no such option (did you mean max"),
        (["stage=lines", "colour=red"], "colour: no such option; there are: run_name, "),
        (["stage=lines", "stage.folders.a=b"], "write +stage.folders.a=VALUE"),
        (["stage=lines", "stage.input=x", "~stage.mode"], "stage.mode is required"),
        (["stage=lines", "resources=tpu"], "resources=tpu: no such resources"),
        (["stage=lines", "resources=null"], "resources=null: no such resources"),
        (["stage=lines", "-m", "launcher=locl"], "no such launcher (did you mean local?)"),
        (["stage=lines", "launcher=local"], "launcher has no effect in this process: add -m"),
        (["stage=lines", "launcher.array_size=3"], "launcher.array_size has no effect in this"),
        (["stage=lines", "stage.input=a,b"], "need -m. If it is one value with commas in it"),
        (["stage=lines", "stage.input=${oc.env:NO_SUCH}"], "variable NO_SUCH is not set"),
    ],
)
def test_a_mistake_is_answered_in_one_line(project, launcher, capsys, args, message):
    assert main(args) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("error: ")
    assert len(shown.splitlines()) == 1
    assert launcher.configs == []


@pytest.mark.parametrize(
    "value",
    [
        "/d/{a,b}/*.txt",
        "/d/{000..127}.txt",
        "/d/[ab].txt",
        "{a,b}/x",
        "/d/a=b",
        "it's",
        'a"b',
        "a,b",
    ],
)
def test_the_quoted_form_that_is_printed_works(project, launcher, capsys, value):
    assert main(["stage=lines", f"stage.input={value}"]) == 2
    _, _, quoted = capsys.readouterr().err.rstrip().rpartition("write: ")
    done = subprocess.run(
        ["bash", "-c", f'printf "%s" {quoted}'], capture_output=True, text=True, check=True
    )
    assert main(["stage=lines", done.stdout]) == 0
    assert launcher.configs[0].stage.input.endswith(value)


def test_a_users_other_config_yaml_is_named(project, launcher, capsys):
    (project / "conf" / "config.yaml").write_text("defaults:\n  - model: big\n")
    assert main(["stage=lines", "stage.input=x"]) == 2
    assert f"{project}/conf/config.yaml is read instead of" in capsys.readouterr().err


def test_a_stage_that_overrides_resources_the_wrong_way_is_told_the_right_one(
    project, launcher, capsys
):
    file = project / "conf" / "stage" / "lines.yaml"
    file.write_text(file.read_text().replace("@_global_.resources", ""))
    assert main(["stage=lines", "stage.input=x"]) == 2
    shown = capsys.readouterr().err
    assert "conf/stage/lines.yaml: to choose resources there" in shown
    assert "- override /resources@_global_.resources: NAME" in shown


def test_cfg_prints_what_was_composed_and_starts_nothing(project, launcher, capsys):
    assert main(["stage=lines", "launcher=local", "-m", "--cfg", "job", "run_name=me"]) == 0
    shown = capsys.readouterr().out
    assert "run_name: me\n" in shown
    assert "num_workers: 2\n" in shown
    assert "hydra" not in shown
    assert launcher.configs == []


def test_hydras_environment_and_the_arguments_are_put_back(project, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = list(sys.argv)
    compose([], ["stage=lines", "stage.input=x"])
    assert (sys.argv, os.environ["HYDRA_FULL_ERROR"]) == (before, "0")


def test_a_bug_in_the_checks_is_not_taken_for_a_users_mistake(project, launcher, monkeypatch):
    def broken(cfg: object, stage_name: str) -> Config:
        raise ValueError("inner")

    monkeypatch.setattr("hpcpipe.compose.app.from_omegaconf", broken)
    assert main(["stage=lines", "stage.input=x"]) == 1


def test_flags_keep_their_values():
    flags, overrides = split_arguments(["a=1", "--cfg", "job", "--package", "run", "b=2"], {})
    assert flags == ["--cfg", "job", "--package", "run"]
    assert overrides == ["a=1", "b=2"]


def test_python_composes_what_the_command_does(project, launcher):
    main(["stage=lines", "stage.input=[a,b]", "stage.scale=2", "run_name=me"])
    config = compose_run("lines", input=["a", Path("b")], scale=2, overrides=["run_name=me"])
    assert config == launcher.configs[0]


def test_python_needs_no_quoting_and_raises(project, launcher):
    result = hpcpipe.run("lines", input="/d/{a,b}=[1],2.txt", launcher="local")
    assert launcher.modes == ["submit"]
    assert launcher.configs[0].stage.input == "/d/{a,b}=[1],2.txt"
    assert result == hpcpipe.RunResult(run_dir=Path(launcher.configs[0].run_dir), exit_code=0)
    with pytest.raises(ConfigError, match=r"stage\.inptu: no such option \(did you mean input\?\)"):
        hpcpipe.run("lines", inptu="x")
    with pytest.raises(ConfigError, match=r"stage\.input: .*object"):
        hpcpipe.run("lines", input=object())
    with pytest.raises(ConfigError, match="stage=lnies: no such stage"):
        hpcpipe.run("lnies")
    with pytest.raises(ConfigError, match=r"run\.max_atempts: no such option"):
        hpcpipe.run("lines", input="x", overrides=["run.max_atempts=1"])


def test_a_stage_outside_the_package_runs_and_resumes(project):
    for name in "abc":
        (project / f"{name}.txt").write_text("1\n2\n")
    script = str(Path(sys.executable).with_name("hpcpipe"))
    command = [script, "stage=lines", "stage.input=*.txt", "stage.output=out"]
    for expected in ("3 shards to do", "0 shards to do"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (project / "out" / "b.txt.count").read_text() == "2"


def test_workers_find_a_stage_outside_the_package_from_any_folder(project, tmp_path, monkeypatch):
    (project / "a.txt").write_text("1\n")
    command = [sys.executable, "-m", "hpcpipe", "stage=lines", f"stage.input={project}/a.txt"]
    settings = [f"paths.code={project}", f"paths.runs={project}/runs", "launcher=local", "-m"]
    settings += ["resources.gpus=0"]  # the stage asks for one, and this machine may have none
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {**os.environ, "HPCPIPE_CONF": str(project / "conf")}
    done = subprocess.run([*command, *settings], capture_output=True, text=True, cwd=empty, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(empty.iterdir()) == []


def test_python_takes_common_keys_beside_the_stages_options(project, launcher):
    common = {"run_name": "me", "run_dir": Path("there"), "limit": 1, "extend": True}
    config = compose_run("lines", input="x", adopt=True, wait=True, **common)
    assert (config.run_name, config.run_dir, config.limit) == ("me", f"{project}/there", 1)
    assert (config.extend, config.adopt, config.wait) == (True, True, True)
    assert compose_run("lines", input="x", retry_failed=True).retry_failed
    with pytest.raises(ConfigError, match="extend=true and retry_failed=true: give one of them"):
        compose_run("lines", input="x", extend=True, retry_failed=True)
    with pytest.raises(ConfigError, match="limit: must be >= 1, got 0"):
        compose_run("lines", input="x", limit=0)


def test_python_gives_a_stages_own_option_of_a_common_name_to_the_stage(project, launcher):
    code, conf = project / "line_stage.py", project / "conf" / "stage" / "lines.yaml"
    code.write_text(code.read_text().replace("    scale: float\n", "    limit: int\n"))
    conf.write_text(conf.read_text().replace("scale: 1 ", "limit: 1 "))
    config = compose_run("lines", input="x", limit=7)
    assert (config.stage.limit, config.limit) == (7, None)
