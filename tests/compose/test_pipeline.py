"""Composing pipelines: every step comes out as if it had been typed alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import hpcpipe
from hpcpipe.__main__ import main
from hpcpipe.compose.api import compose_run
from hpcpipe.compose.pipeline_api import compose_pipeline
from hpcpipe.config import load
from hpcpipe.errors import ConfigError
from tests.compose.launcher import launcher
from tests.user_project import project

__all__ = ["launcher", "project"]

TWICE = """\
# Count the lines, then the lines of the counts.
input: ???               # text files
output: made             # folder of all
scale: 2                 # for both
folders: {a: x}          # further folders

steps:
  # the first count
  first:
    stage: lines
    stage.input: ${pipeline.input}
    stage.output: ${pipeline.output}/first
    stage.scale: ${pipeline.scale}
    launcher.array_size: 5
    run.max_failed_fraction: 0.5
  again:
    stage: lines
    stage.output: ${pipeline.output}/again
    stage.scale: ${pipeline.scale}
    stage.mode: words
    resources: cpu
    resources.time_min: 7
"""


@pytest.fixture
def twice(project):
    (project / "conf" / "pipeline").mkdir()
    (project / "conf" / "pipeline" / "twice.yaml").write_text(TWICE)
    return project / "conf" / "pipeline" / "twice.yaml"


def steps(*overrides: str, **options):
    pipeline = compose_pipeline("twice", overrides=overrides, input="in/*.txt", **options).config
    return {step.name: step for step in pipeline.steps}


def test_a_step_is_what_its_stage_would_be_alone(twice, project):
    first, again = steps().values()
    alone = compose_run(
        "lines",
        input="in/*.txt",
        output="made/first",
        scale=2,
        overrides=["launcher.array_size=5", "run.max_failed_fraction=0.5"],
    )
    assert first.config == alone
    assert first.needs == ()
    assert (again.config.resources.gpus, again.config.resources.time_min) == (0, 7)
    assert first.config.resources.gpus == 1, "the stage's own choice"
    assert again.config.run.max_failed_fraction == 0


def test_the_input_is_by_default_the_output_of_the_step_above(twice, project):
    again = steps()["again"]
    assert again.config.stage.input == f"{project}/made/first"
    assert again.needs == ("first",)


def test_an_output_folder_of_an_earlier_step_is_known_by_its_path_too(twice, project):
    again = steps("again.stage.input=made/first/*.count")["again"]
    assert again.needs == ("first",)
    assert steps("again.stage.input=made/*.count")["again"].needs == ()


@pytest.mark.parametrize(
    ("pattern", "is_read"),
    [
        ("made/*/*.count", True),
        ("made/f*/x.count", True),
        ("made/{first,second}/*.count", True),
        ("made/*", False),
        ("**/*.count", True),
        ("made/**", True),
        ("**/first/*.count", True),
        ("made/g*/*.count", False),
        ("made/[]/*", False),
        ("made/*.count", False),
        ("*", False),
    ],
)
def test_a_pattern_that_reaches_into_an_earlier_steps_output_reads_it(
    twice, project, pattern, is_read
):
    needs = steps(f"again.stage.input='{pattern}'")["again"].needs
    assert needs == (("first",) if is_read else ())


def test_which_files_of_a_group_a_step_takes_can_be_an_option_of_the_pipeline(twice, project):
    text = TWICE.replace("resources: cpu", "resources: ${pipeline.kind}")
    twice.write_text(text.replace("scale: 2 ", "kind: gpu\nscale: 2 "))
    assert steps()["again"].config.resources.gpus == 1
    assert steps(kind="cpu")["again"].config.resources.gpus == 0


def test_the_default_output_can_be_referred_to(twice, project):
    both = steps("first.stage.output=null")
    assert both["again"].config.stage.input == both["first"].config.output
    assert both["first"].config.output.startswith(f"{project}/runs/lines/")


def test_the_command_line_reaches_all_steps_or_one(twice, project):
    both = steps("run.lease_s=90", "launcher.array_size=3", "again.launcher.array_size=4")
    assert [s.config.run.lease_s for s in both.values()] == [90, 90]
    assert [s.config.launcher.array_size for s in both.values()] == [3, 4]
    one = steps("resources=cpu", "again.resources=gpu", "pipeline.steps.first.stage.mode=words")
    assert [s.config.resources.gpus for s in one.values()] == [0, 1]
    assert one["first"].config.stage.mode == "words"
    assert steps("again.site.account=me")["again"].config.site.account == "me"
    named = steps("run_name=me")
    assert [s.config.run_name for s in named.values()] == ["me", "me"]


def test_options_of_another_launcher_are_left_out(twice, project):
    pipeline = compose_pipeline("twice", launcher="local", input="x").config
    assert [step.config.launcher.kind for step in pipeline.steps] == ["local", "local"]


def test_what_all_steps_share_can_refer_to_the_pipeline(twice, project):
    both = steps("run.scratch=${pipeline.output}/scratch")
    assert both["again"].config.run.scratch == f"{project}/made/scratch"


def test_a_reference_can_be_a_mapping_or_a_part_of_a_text(twice, project):
    text = TWICE.replace("stage.mode: words", "stage.folders: ${pipeline.folders}")
    twice.write_text(text.replace("a: x", 'a: x, b: "${pipeline.output}-${pipeline.scale}"'))
    folders = steps()["again"].config.stage.folders
    assert folders == {"a": f"{project}/x", "b": f"{project}/made-2"}


def test_the_environment_stays_out_of_what_is_stored(twice, project, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    both = steps(output="${oc.env:SECRET}/${run_name}")
    assert both["again"].config.stage.input == both["first"].config.output
    assert both["first"].config.output.startswith(f"{project}/hunter2/")
    assert "hunter2" not in "".join(step.config.text for step in both.values())
    (project / "again.yaml").write_text(both["again"].config.text)
    again = load(Path(both["again"].config.run_dir), str(project / "again.yaml"))
    assert again == both["again"].config


def test_the_label_names_the_pipeline_directory(twice, project):
    one, same, other = (
        compose_pipeline("twice", input="x", **options, overrides=overrides).config
        for options, overrides in (({}, ()), ({}, ["run.lease_s=50"]), ({"scale": 3}, ()))
    )
    assert (one.path, one.fingerprint) == (same.path, same.fingerprint)
    assert one.path.startswith(f"{project}/runs/twice/{one.fingerprint[:8]}")
    assert other.path != one.path
    named = compose_pipeline("twice", input="x", overrides=["run_name=me"]).config
    assert named.path == f"{project}/runs/twice/me-{one.fingerprint[:8]}"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["pipeline=twcie"], "pipeline=twcie: no such pipeline (did you mean twice?); there are: "),
        (["pipeline=twice"], "pipeline.input is required: add pipeline.input=VALUE"),
        (["pipeline=twice,repack"], "pipeline: one at a time"),
        (["twice"], "twice is a pipeline: write pipeline=twice"),
        (["pipeline.inptu=x"], "pipeline.inptu: no such option (did you mean input?)"),
        (["agian.stage.mode=words"], "agian: no such step (did you mean again?); there are: first"),
        (["pipeline.steps.agian.stage.mode=x"], "agian: no such step (did you mean again?)"),
        (
            ["again.stage.mdoe=words"],
            "step again: again.stage.mdoe: no such option (did you mean mode?)",
        ),
        (["again.stage.mode=letters"], "step again: again.stage.mode: expected lines or words"),
        (["pipeline.scale=big"], "step first: pipeline.scale: expected"),
        (["first.stage.scale=big"], "step first: first.stage.scale: expected"),
        (["pipeline=lines"], "pipeline=lines: lines is a stage: type stage=lines"),
        (["stage=twice", "x=1"], "stage=twice: twice is a pipeline: type pipeline=twice"),
        (["again.stage=lnies"], "step again: stage=lnies: no such stage (did you mean lines?)"),
        (["again.resources=tpu"], "step again: resources=tpu: no such resources"),
        (["again.run.lease=1"], "step again: run.lease: no such option (did you mean lease_s?)"),
        (["again.stage.scale=1,2", "-m"], "again.stage.scale: only the pipeline's own options"),
        (["again.launcher=local"], "again.launcher: launcher is chosen for the whole pipeline"),
        (["stage.mode=words"], "stage.mode: name the step that is meant: STEP.stage.mode=VALUE"),
        (["stage=lines"], "stage=NAME and pipeline=NAME do not go together"),
        (["run_dir=x"], "run_dir: name the step that is meant: STEP.run_dir=VALUE"),
        (["launcher=local"], "launcher has no effect in this process: add -m"),
        (["launcher=script", "-m"], "launcher=script writes the workers of one run"),
        (["again.stage.scale=${pipeline.sclae}"], "pipeline.sclae: no such option (did you mean"),
        (["again.stage.input=${steps.frist.output}"], "no step above this one is called frist"),
        (["again.stage.input=${steps.first.input}"], "only the output is known here"),
        (["pipeline.output=${pipeline.output}"], "refers to itself"),
        (["first.stage.input=made/again"], "step first reads the output of step again: put it"),
        (["again.stage.output=made/first"], "steps first and again have the same output"),
        (["pipeline.scale=1,2", "-m"], "sweep over the pipeline's output too"),
        (["pipeline.scale=1,2"], "several values make several runs, and need -m"),
    ],
)
def test_a_mistake_is_answered_in_one_line(twice, project, launcher, capsys, args, message):
    is_whole = args[0].startswith(("pipeline=", "twice", "stage=twice"))
    assert main(args if is_whole else ["pipeline=twice", "pipeline.input=x", *args]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("error: ")
    assert len(shown.splitlines()) == 1
    assert launcher.configs == []
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("  first:", "  run:", "step run: run is a setting of every run"),
        ("  first:", "  1st:", "step 1st: a step's name has letters, digits and _ only"),
        (
            "    stage: lines\n    stage.input",
            "    stage.input",
            "step first: the stage is missing",
        ),
        ("launcher.array_size: 5", "launcher: {array_size: 5}", "launcher.array_size: VALUE"),
        ("launcher.array_size: 5", "launcher: local", "launcher is chosen for the whole pipeline"),
        ("launcher.array_size: 5", "launcher.aray_size: 5", "step first: launcher.aray_size: no"),
        ("steps:", "stages:", "a pipeline lists its steps under steps:"),
    ],
)
def test_a_mistake_in_the_file_names_the_step(twice, launcher, capsys, before, after, message):
    twice.write_text(TWICE.replace(before, after, 1))
    assert main(["pipeline=twice", "pipeline.input=x"]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert launcher.configs == []


def test_steps_are_started_in_order_and_after_a_failure_what_depends_is_not(
    twice, launcher, capsys
):
    assert main(["pipeline=twice", "pipeline.input=a"]) == 0
    assert [config.stage_name for config in launcher.configs] == ["lines", "lines"]
    assert launcher.modes == ["here", "here"]
    launcher.configs.clear()
    launcher.codes = {"b": 3}
    assert main(["pipeline=twice", "pipeline.input=b"]) == 3
    assert len(launcher.configs) == 1
    assert "not begun  it reads the output of first" in capsys.readouterr().out


def test_a_sweep_over_the_pipelines_options_is_one_pipeline_for_each(twice, project, launcher):
    args = ["pipeline=twice", "pipeline.input=a", "pipeline.output=x,y", "-m", "launcher=local"]
    assert main(args) == 0
    outputs = [config.output.removeprefix(f"{project}/") for config in launcher.configs]
    assert outputs == ["x/first", "x/again", "y/first", "y/again"]
    assert len(list((project / "runs" / "twice").iterdir())) == 2


def test_cfg_prints_the_composed_steps_and_starts_nothing(twice, project, launcher, capsys):
    assert main(["pipeline=twice", "pipeline.input=a", "--cfg", "job", "again.run.lease_s=30"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["pipeline"]
    assert shown["scale"] == 2
    assert shown["steps"]["first"]["stage"]["scale"] == 2
    assert shown["steps"]["again"]["run"]["lease_s"] == 30
    assert shown["steps"]["again"]["stage"]["input"].endswith("made/first")
    assert launcher.configs == []


def test_help_shows_options_and_steps_from_the_file(twice, project, capsys):
    assert main(["pipeline=twice", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("pipeline=twice: Count the lines, then the lines of the counts.\n")
    assert "pipeline.input=VALUE (required)  text files\n" in shown
    assert "  first: the first count\n    first.stage=lines\n" in shown
    assert "    again.resources.time_min=7\n" in shown
    assert "pipeline.steps" not in shown
    assert "run_dir=" not in shown
    assert main(["stages"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert any(
        line.split(maxsplit=1) == ["twice", "Count the lines, then the lines of the counts."]
        for line in listed
    )


def test_a_users_pipeline_runs_and_is_resumed_step_by_step(twice, project):
    for name in "abc":
        (project / f"{name}.txt").write_text("1\n2\n")
    code = project / "line_stage.py"
    code.write_text(code.read_text().replace('(".txt",)', '(".txt", ".count")'))
    command = [sys.executable, "-m", "hpcpipe", "pipeline=twice", "pipeline.input=*.txt"]
    for todo in ("3 shards to do", "0 shards to do"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(todo) == 2
    assert (project / "made" / "again" / "b.txt.count.count").read_text() == "0"
    alone = [sys.executable, "-m", "hpcpipe", "stage=lines", "stage.input=*.txt"]
    done = subprocess.run(
        [*alone, "stage.output=made/first", "stage.scale=2"], capture_output=True, text=True
    )
    assert "(resumed)" in done.stdout
    result = hpcpipe.run_pipeline("twice", input="*.txt")
    (path,) = (project / "runs" / "twice").iterdir()
    assert result == hpcpipe.PipelineResult(pipeline_dir=path, exit_code=0)


def test_python_names_the_options_there_are(twice, project):
    with pytest.raises(ConfigError, match=r"pipeline\.inptu: no such option \(did you mean input"):
        compose_pipeline("twice", inptu="x")
    with pytest.raises(ConfigError, match=r"pipeline\.input: .*object"):
        compose_pipeline("twice", input=object())


def test_retrying_is_refused_where_no_step_leaves_failures(twice, project):
    with pytest.raises(ConfigError, match=r"no step of pipeline twice leaves .* retry twice"):
        steps("retry_failed=true")
