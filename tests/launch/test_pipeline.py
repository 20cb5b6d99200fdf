"""Plan jobs and what they decide, without SLURM."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hpcpipe.__main__ import main
from hpcpipe.config.pipeline import PipelineConfig, StepConfig
from hpcpipe.errors import RunMismatchError, SetupError, UpstreamIncompleteError
from hpcpipe.launch import pipeline as launch
from hpcpipe.launch import step_jobs, step_task
from hpcpipe.launch.step_task import PlanTask, StepTask
from hpcpipe.manifest.journal import Event, JournalWriter
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.pipeline_records import Job, Planned
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.gate import check_upstream
from tests.cli.test_status_json import described
from tests.toys.runs import events_of, run_here, toy_config, write_inputs


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def make_pipeline(folder: Path, first: str = "toy", **values) -> tuple[PipelineConfig, PipelineDir]:
    """Two toys, the second on what the first makes; nothing is started."""
    one = toy_config(folder, first, stage__output=str(folder / "one"), **values)
    two = toy_config(
        folder, stage__input=str(folder / "one"), stage__output=str(folder / "two"), **values
    )
    steps = (
        StepConfig(name="first", config=one, needs=()),
        StepConfig(name="second", config=two, needs=("first",)),
    )
    path = str(folder / "runs" / "pair" / "0123")
    config = PipelineConfig(name="pair", fingerprint="0123", path=path, steps=steps, wait=False)
    return config, launch.open_directory(config)[0]


def submitted(directory: PipelineDir, config: PipelineConfig, array_job: str = "12") -> Job:
    job = Job(0, "second", 3, plan_job="11", array_job=array_job, command=("pipeline=pair", "-m"))
    return directory.add_job(job, config.steps[1].config.text)


def test_a_plan_job_may_run_again_and_makes_one_launch(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config, directory = make_pipeline(tmp_path)
    run_here(config.steps[0].config)
    job = submitted(directory, config)
    PlanTask(str(directory.path), job.number)()
    planned = directory.read_plan(job.number)
    (directory.plans / f"{job.number}.json").unlink()
    PlanTask(str(directory.path), job.number)()
    PlanTask(str(directory.path), job.number)()
    again = directory.read_plan(job.number)
    assert (again.run_dir, again.launch, again.error) == (planned.run_dir, 1, "")
    run = RunDir(Path(planned.run_dir))
    (record,) = run.read_launches()
    assert (record.array_job, record.num_workers, record.command) == ("12", 3, job.command)
    assert (run.path / "launches" / "1.yaml").is_file()
    assert str(run.path) == config.steps[1].config.run_dir
    link = run.path / "submitit" / "1"
    assert link.resolve(strict=False) == directory.submitit / "1" / "workers"


def test_a_worker_whose_plan_was_not_made_takes_nothing(tmp_path):
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path)
    job = submitted(directory, config)
    with pytest.raises(SetupError, match="was not made, nothing to do"):
        StepTask(str(directory.path), job.number, 0)()
    directory.write_plan(job.number, Planned(error="no"))
    with pytest.raises(SetupError, match="was not made, nothing to do"):
        StepTask(str(directory.path), job.number, 0)()


def test_a_worker_works_on_what_was_planned(tmp_path):
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path)
    run_here(config.steps[0].config)
    job = submitted(directory, config)
    PlanTask(str(directory.path), job.number)()
    assert "1 shards done" in StepTask(str(directory.path), job.number, 0)()
    assert (tmp_path / "two" / "a.out").read_text() == "hello HELLO ONE"


def test_why_there_is_no_plan_is_recorded_and_the_job_fails(tmp_path, capsys):
    write_inputs(tmp_path, a="one", b="bad")
    config, directory = make_pipeline(tmp_path)
    job = submitted(directory, config)
    with pytest.raises(SystemExit) as stop:
        PlanTask(str(directory.path), job.number)()
    assert stop.value.code != 0
    assert "step first was never planned" in directory.read_plan(job.number).error
    assert "error: step second was not planned" in capsys.readouterr().err
    run_here(config.steps[0].config)
    with pytest.raises(SystemExit):
        PlanTask(str(directory.path), job.number)()
    assert "1 of 2 shards are quarantined" in directory.read_plan(job.number).error


def test_without_its_array_a_plan_job_fails_once_the_plan_is_made(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    monkeypatch.setattr(step_task, "ARRAY_TIMEOUT_S", 0.0)
    config, directory = make_pipeline(tmp_path)
    run_here(config.steps[0].config)
    job = submitted(directory, config, array_job="")
    with pytest.raises(SystemExit):
        PlanTask(str(directory.path), job.number)()
    assert "workers were never submitted" in directory.read_plan(job.number).error
    assert directory.step("second").find_run() is not None


def test_the_gate_wants_the_last_step_of_a_run_too(tmp_path):
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path, first="final")
    second = directory.step("second")
    run_here(config.steps[0].config)
    check_upstream(directory, second)
    run = RunDir(Path(config.steps[0].config.run_dir))
    for file in run.journal.iterdir():
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(line for line in lines if b"@finalize" not in line))
    with pytest.raises(UpstreamIncompleteError, match=r"last step \(finalize\) is not done"):
        check_upstream(directory, second)


def test_raising_the_allowance_of_a_finished_step_lets_the_next_one_begin(tmp_path):
    write_inputs(tmp_path, a="one", b="bad")
    config, directory = make_pipeline(tmp_path)
    assert run_here(config.steps[0].config).exit_code == 3
    config, directory = make_pipeline(tmp_path, run__max_failed_fraction=0.5)
    assert run_here(config.steps[0].config).exit_code == 0
    check_upstream(directory, directory.step("second"))
    assert run_here(config.steps[1].config).exit_code == 0


def test_a_step_is_found_where_its_output_says_its_run_is(tmp_path):
    write_inputs(tmp_path, a="one")
    elsewhere = toy_config(
        tmp_path, stage__output=str(tmp_path / "one"), run_dir=str(tmp_path / "elsewhere")
    )
    run_here(elsewhere)
    _, directory = make_pipeline(tmp_path)
    assert directory.step("first").find_run().path == tmp_path / "elsewhere"


def test_a_pipeline_directory_belongs_to_one_pipeline(tmp_path):
    write_inputs(tmp_path, a="one")
    _, directory = make_pipeline(tmp_path)
    info = json.loads((directory.path / "pipeline.json").read_text())
    (directory.path / "pipeline.json").write_text(json.dumps(info | {"fingerprint": "4567"}))
    with pytest.raises(RunMismatchError, match="belongs to another pipeline"):
        make_pipeline(tmp_path)
    (directory.path / "pipeline.json").write_text(json.dumps(info | {"format_version": 9}))
    with pytest.raises(RunMismatchError, match="has format version 9"):
        PipelineDir(directory.path)


def test_status_and_retry_of_a_pipeline(tmp_path, capsys):
    write_inputs(tmp_path, a="one", b="bad")
    config, directory = make_pipeline(tmp_path)
    started = launch.start(config, "here")
    assert started.codes == {"first": 3, "second": 3}
    capsys.readouterr()
    for name in (str(directory.path), "pair", "pair/01", "0123"):
        assert main(["status", name]) == 0
        shown = capsys.readouterr().out
        assert "state      quarantined, 0 of 2 steps complete" in shown
        assert "1 of 2 done, 1 quarantined" in shown
        assert "used       " in shown
    assert "python -m hpcpipe retry runs/pair/0123" in shown
    assert main(["status"]) == 0
    assert "pipelines\n  runs/pair/0123" in capsys.readouterr().out
    write_inputs(tmp_path, b="mended")
    assert main(["retry", "pair", "--all"]) == 2
    assert "name the run of one of its steps" in capsys.readouterr().err
    assert main(["retry", "pair"]) == 0
    shown = capsys.readouterr().out
    assert "reset      1 shard" in shown
    assert "go on      launch it again with the same command" in shown
    assert launch.start(config, "here").codes == {"first": 0, "second": 0}
    assert main(["status", "pair", "--json"]) == 0
    view = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert view["state"] == "complete"
    assert [(s["name"], s["done"], s["needs"]) for s in view["steps"]] == [
        ("first", 2, []),
        ("second", 2, ["first"]),
    ]
    assert [step["accounting"]["num_workers"] for step in view["steps"]] == [2, 1]
    assert view["accounting"]["num_workers"] == 3
    assert list(view) == described("A pipeline")
    for step in view["steps"]:
        assert list(step) == described("`steps[]`")


def test_a_verb_that_is_about_one_run_names_those_of_the_steps(tmp_path, capsys):
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path)
    launch.start(config, "here")
    capsys.readouterr()
    for name in (str(directory.path), "pair"):
        assert main(["verify", name]) == 2
        shown = capsys.readouterr().err
        assert f"{name} is a pipeline; name one of its runs" in shown
        assert shown.count("python -m hpcpipe verify runs/toy/") == 2


def test_two_pipelines_of_one_name_have_to_be_told_apart(tmp_path, capsys):
    write_inputs(tmp_path, a="one")
    _, directory = make_pipeline(tmp_path)
    other = directory.path.with_name("0456")
    PipelineDir.make(other, directory.info)
    assert main(["status", "pair"]) == 2
    assert "could be one of these pipelines" in capsys.readouterr().err
    assert main(["status", "pair/04"]) == 0
    assert "runs/pair/0456" in capsys.readouterr().out


@pytest.fixture
def mended(tmp_path):
    """Two steps that were complete without shard b, which the first has done since."""
    write_inputs(tmp_path, a="one", b="bad")
    config, directory = make_pipeline(tmp_path, run__max_failed_fraction=0.5)
    assert launch.start(config, "here").codes == {"first": 0, "second": 0}
    write_inputs(tmp_path, b="mended")
    assert main(["retry", "pair"]) == 0
    run_here(config.steps[0].config)
    return config, directory


def test_a_step_that_was_planned_from_older_results_is_not_complete(tmp_path, mended, capsys):
    config, directory = mended
    assert main(["status", "pair"]) == 0
    shown = capsys.readouterr().out
    assert "state      incomplete, 1 of 2 steps complete" in shown
    assert "second  outdated" in shown
    assert launch.start(config, "here").codes == {"first": 0, "second": 2}
    wanted = f"{tmp_path}/one has changed since run {config.steps[1].config.run_dir} was planned"
    assert wanted in capsys.readouterr().err
    job = submitted(directory, config)
    with pytest.raises(SystemExit):
        PlanTask(str(directory.path), job.number)()
    assert wanted in directory.read_plan(job.number).error
    config, _ = make_pipeline(tmp_path, run__max_failed_fraction=0.5, extend=True)
    assert launch.start(config, "here").codes == {"first": 0, "second": 0}
    assert (tmp_path / "two" / "b.out").read_text() == "hello HELLO MENDED"
    assert main(["status", "pair"]) == 0
    shown = capsys.readouterr().out
    assert "state      complete, 2 of 2 steps complete" in shown
    assert shown.splitlines()[-1] == f"output     {tmp_path}/two"


def test_a_step_that_cannot_be_extended_needs_another_output(mended, capsys, monkeypatch):
    config, _ = mended
    monkeypatch.setattr(type(config.steps[1].config.stage), "extendable", False)
    assert launch.start(config, "here").codes == {"first": 0, "second": 2}
    shown = capsys.readouterr().err
    assert "for a new one give another output" in shown


def test_results_that_were_made_again_with_the_same_bytes_are_the_same(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config, _ = make_pipeline(tmp_path)
    launch.start(config, "here")
    (tmp_path / "one" / "a.out").unlink()
    assert main(["verify", str(tmp_path / "one"), "--requeue"]) == 3
    assert launch.start(config, "here").codes == {"first": 0, "second": 0}


def test_places_that_are_taken_are_found_before_anything_is_started(tmp_path):
    write_inputs(tmp_path, a="one")
    run_here(toy_config(tmp_path, stage__output=str(tmp_path / "two"), stage__word="other"))
    config, _ = make_pipeline(tmp_path)
    with pytest.raises(
        RunMismatchError, match=r"step second: second\.stage\.output .*two belongs to run"
    ):
        launch.start(config, "here")
    assert not (tmp_path / "one").exists()


@pytest.fixture
def spoilt(tmp_path):
    """A pipeline whose second step has a run, in which node g1 spoilt three shards of seven."""
    write_inputs(tmp_path, **dict.fromkeys("abcdefg", "x"))
    limits = {"run__max_attempts": 1, "launcher__exclude_bad_nodes": 3}
    config, directory = make_pipeline(tmp_path, **limits)
    run_here(config.steps[0].config)
    begun = RunDir(run_here(replace(config.steps[1].config, limit=4)).run_dir)
    journal = JournalWriter(begun.journal / "late.jsonl")
    for shard in set("abcdefg") - {event.shard for event in events_of(begun.path, "done")}:
        journal.write(Event(event="failed", shard=shard, attempt=1, host="g1", error="x"))
    journal.close()
    return config, directory


def test_a_step_that_waits_is_kept_from_the_nodes_that_spoilt_it_before(
    spoilt, monkeypatch, capsys
):
    config, directory = spoilt
    asked = []

    def submit(tasks, folder, parameters, python):
        asked.append(parameters)
        return str(len(asked))

    monkeypatch.setattr(step_jobs.slurm, "submit", submit)
    second = config.steps[1].config
    second.launcher.slurm["exclude"] = "p1"
    job = directory.add_job(Job(0, "second", 3), second.text)
    step_jobs.submit_both(directory, job, second, second.launcher)
    assert [(one["job_name"][:12], one["exclude"]) for one in asked] == [
        ("hpcpipe-plan", "g1"),
        ("hpcpipe-toy-", "p1,g1"),
    ]
    assert "left out   node g1: 3 failures, 0 done" in capsys.readouterr().out


def test_what_bad_nodes_spoilt_is_done_again_by_the_workers_of_a_step_that_waited(spoilt):
    config, directory = spoilt
    job = submitted(directory, config)
    PlanTask(str(directory.path), job.number)()
    assert "3 shards done" in StepTask(str(directory.path), job.number, 0)()
