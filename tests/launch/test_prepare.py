import json
import shutil
from pathlib import Path

import pytest

from hpcpipe.cli.retry import main as retry
from hpcpipe.cli.verify import main as verify
from hpcpipe.errors import ConfigError, PlanError, RunMismatchError, UpstreamIncompleteError
from hpcpipe.runtime.planning import PlanContext
from tests.toys.runs import events_of, run_here, toy_config, write_inputs


@pytest.fixture
def inputs(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    return tmp_path


def test_no_input_says_where_it_looked(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(PlanError, match=r"/in"):
        run_here(toy_config(tmp_path))
    assert not list((tmp_path / "runs").rglob("*")) or not list(
        (tmp_path / "runs" / "toy").iterdir()
    )


def test_the_same_options_from_another_folder_find_the_run_by_its_output(inputs):
    output = str(inputs / "out")
    first = run_here(toy_config(inputs, stage__output=output))
    second = run_here(toy_config(inputs, stage__output=output, paths__runs=str(inputs / "other")))
    assert second.run_dir == first.run_dir
    assert len(events_of(first.run_dir, "done")) == 2
    assert not (inputs / "other").exists()


def test_tuning_does_not_change_the_run(inputs):
    first = run_here(toy_config(inputs))
    assert run_here(toy_config(inputs, stage__batch_size=99)).run_dir == first.run_dir


def test_two_runs_at_one_output_are_refused_with_the_difference(inputs):
    output = str(inputs / "out")
    run_here(toy_config(inputs, stage__output=output))
    with pytest.raises(
        RunMismatchError, match=r'(?s)belongs to run .*stage\.word: "hello" there, "bye" here'
    ):
        run_here(toy_config(inputs, stage__output=output, stage__word="bye"))
    assert (inputs / "out" / "a.out").read_text() == "hello ONE"


def test_what_may_differ_between_launches_is_no_difference(inputs):
    output = str(inputs / "out")
    run_here(toy_config(inputs, stage__output=output))
    with pytest.raises(RunMismatchError) as caught:
        run_here(toy_config(inputs, stage__output=output, stage__word="bye", stage__batch_size=99))
    assert "batch_size" not in str(caught.value)


def test_other_inputs_are_no_extension(inputs):
    output = str(inputs / "out")
    run_here(toy_config(inputs, stage__output=output))
    write_inputs(inputs, c="three")
    other = [str(inputs / "in" / "a.txt"), str(inputs / "in" / "c.txt")]
    with pytest.raises(RunMismatchError, match=r"under the same stage\.input, so name a folder"):
        run_here(toy_config(inputs, stage__output=output, stage__input=other, extend=True))
    run_here(toy_config(inputs, stage__output=output, extend=True))
    assert (inputs / "out" / "c.out").read_text() == "hello THREE"


def test_other_options_begin_anew_in_the_ways_that_the_messages_name(inputs):
    options = {"stage__output": str(inputs / "out"), "run_dir": str(inputs / "mine")}
    run_here(toy_config(inputs, **options))
    with pytest.raises(RunMismatchError, match=r"Give another stage\.output, or .* remove it"):
        run_here(toy_config(inputs, **options, stage__word="bye"))
    shutil.rmtree(inputs / "out")
    with pytest.raises(RunMismatchError, match=r"Give another run_dir, or"):
        run_here(toy_config(inputs, **options, stage__word="bye"))
    options["run_dir"] = str(inputs / "other")
    assert run_here(toy_config(inputs, **options, stage__word="bye")).exit_code == 0


def test_a_difference_is_shown_as_one_would_type_it(inputs):
    run_here(toy_config(inputs, run_dir=str(inputs / "mine"), stage__broken_setup=False))
    other = {"stage__output": str(inputs / "out"), "stage__broken_setup": True}
    shown = (
        rf'broken_setup: false there, true here\n  stage\.output: null there, "{inputs}/out" here'
    )
    with pytest.raises(RunMismatchError, match=shown):
        run_here(toy_config(inputs, run_dir=str(inputs / "mine"), **other))


def test_an_explicit_run_dir_of_another_run_is_refused(inputs):
    run_here(toy_config(inputs, run_dir=str(inputs / "mine")))
    with pytest.raises(RunMismatchError, match=r"stage\.word"):
        run_here(toy_config(inputs, run_dir=str(inputs / "mine"), stage__word="bye"))


def test_a_run_dir_that_is_something_else_is_refused(inputs):
    (inputs / "mine").mkdir()
    (inputs / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunMismatchError, match=r"exists and is no run directory"):
        run_here(toy_config(inputs, run_dir=str(inputs / "mine")))
    assert [path.name for path in (inputs / "mine").iterdir()] == ["thesis.tex"]


def test_an_empty_run_dir_is_taken(inputs):
    (inputs / "mine").mkdir()
    assert run_here(toy_config(inputs, run_dir=str(inputs / "mine"))).exit_code == 0


def test_outputs_that_exist_from_something_else_are_refused_and_unharmed(inputs):
    (inputs / "out").mkdir()
    (inputs / "out" / "b.out").write_text("precious")
    config = toy_config(inputs, stage__output=str(inputs / "out"))
    with pytest.raises(RunMismatchError, match=r"out/b\.out exists already.*adopt=true"):
        run_here(config)
    assert (inputs / "out" / "b.out").read_text() == "precious"
    assert not (inputs / "out" / ".hpcpipe").exists()
    adopting = toy_config(inputs, stage__output=str(inputs / "out"), adopt=True)
    assert run_here(adopting).exit_code == 0
    assert (inputs / "out" / "b.out").read_text() == "hello TWO"


def test_an_output_whose_run_is_gone_needs_adopt(inputs):
    output = str(inputs / "out")
    first = run_here(toy_config(inputs, stage__output=output))
    shutil.rmtree(first.run_dir)
    with pytest.raises(RunMismatchError, match=r"which is gone.*moved.*run_dir=.*adopt=true"):
        run_here(toy_config(inputs, stage__output=output))
    with pytest.raises(RunMismatchError, match=r"which is gone.*adopt=true"):
        run_here(toy_config(inputs, stage__output=output, stage__word="bye"))
    assert run_here(toy_config(inputs, stage__output=output, adopt=True)).exit_code == 0


def test_a_run_that_was_removed_with_its_outputs_begins_anew(inputs):
    config = toy_config(inputs, stage__output=str(inputs / "out"))
    shutil.rmtree(run_here(config).run_dir)
    for path in (inputs / "out").glob("*.out"):
        path.unlink()
    assert run_here(config).exit_code == 0


def test_two_shards_that_would_write_one_file_are_refused(inputs):
    (inputs / "more").mkdir()
    (inputs / "more" / "a.txt").write_text("x")
    config = toy_config(inputs, stage__input=[str(inputs / "in"), str(inputs / "more")])
    with pytest.raises(PlanError, match=r"two shards of the plan have the id 'a'|both write"):
        run_here(config)


def test_what_a_stages_own_plan_raises_is_told_with_its_line(inputs, monkeypatch):
    def list_inputs(*args):
        raise KeyError("width")

    monkeypatch.setattr(PlanContext, "list_inputs", list_inputs)
    told = r"^stage toy cannot plan: KeyError: 'width' \(.*/toys/toy\.py, line \d+; HPCPIPE_DEBUG=1"
    with pytest.raises(PlanError, match=told):
        run_here(toy_config(inputs))
    assert not list((inputs / "runs" / "toy").iterdir())


def test_an_output_that_cannot_be_written_is_named(inputs):
    (inputs / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"stage\.output .*/file/out cannot be written"):
        run_here(toy_config(inputs, stage__output=str(inputs / "file" / "out")))
    assert not list((inputs / "runs" / "toy").iterdir())


def test_a_run_folder_that_cannot_be_written_is_named(inputs):
    (inputs / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"run directory .* cannot be made.*HPCPIPE_RUNS"):
        run_here(toy_config(inputs, paths__runs=str(inputs / "file")))


def test_a_run_directory_of_another_format_version_is_refused(inputs):
    first = run_here(toy_config(inputs))
    path = first.run_dir / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 7}))
    with pytest.raises(RunMismatchError, match=r"format version 7"):
        run_here(toy_config(inputs))


def test_extending_takes_new_inputs_only(inputs):
    first = run_here(toy_config(inputs))
    write_inputs(inputs, c="three")
    assert run_here(toy_config(inputs)).exit_code == 0
    assert len(events_of(first.run_dir, "done")) == 2
    assert run_here(toy_config(inputs, extend=True)).exit_code == 0
    assert sorted(e.shard for e in events_of(first.run_dir, "done")) == ["a", "b", "c"]
    assert run_here(toy_config(inputs, extend=True)).exit_code == 0
    assert len(list(first.run_dir.glob("plan*.jsonl"))) == 2


@pytest.mark.parametrize("where", ["link/made", "re*/made", "{link,in}/made", "**"])
def test_what_a_run_has_not_finished_is_no_input_by_whatever_path(inputs, where):
    (inputs / "real").mkdir()
    (inputs / "link").symlink_to("real")
    run_here(toy_config(inputs, stage__output=str(inputs / "real" / "made"), limit=1))
    second = toy_config(inputs, stage__input=str(inputs / where / "*.out"))
    with pytest.raises(UpstreamIncompleteError, match=r"real/made is made by run .* not complete"):
        run_here(second)
    run_here(toy_config(inputs, stage__output=str(inputs / "real" / "made")))
    (inputs / "real" / "made" / "x.out").write_text("by somebody else")
    done = run_here(second)
    assert {e.shard for e in events_of(done.run_dir, "done")} == {"a", "b"}


def test_a_folder_that_a_run_made_is_listed_from_its_manifest(inputs):
    output = inputs / "out"
    upstream = toy_config(inputs, stage__output=str(output), stage__word="x")
    run_here(upstream)
    (output / "a.txt").write_text("left by somebody else")
    (output / "a.out").rename(output / "a.keep")
    second = toy_config(inputs, stage__input=str(output / "*.out"))
    with pytest.raises(PlanError, match=r"a\.out is recorded by run .* but is not there.*verify"):
        run_here(second)
    (output / "a.keep").rename(output / "a.out")
    (output / "stray.out").write_text("stray")
    started = run_here(second)
    assert sorted(e.shard for e in events_of(started.run_dir, "done")) == ["a", "b"]


def test_a_folder_whose_run_is_incomplete_is_refused(inputs):
    write_inputs(inputs, c="bad")
    upstream = toy_config(inputs, stage__output=str(inputs / "out"))
    run_here(upstream)
    with pytest.raises(UpstreamIncompleteError, match=r"1 quarantined"):
        run_here(toy_config(inputs, stage__input=str(inputs / "out" / "*.out")))


def test_nothing_is_planned_twice_when_two_commands_make_the_same_run(inputs):
    config = toy_config(inputs)
    first, second = run_here(config), run_here(config)
    assert first.run_dir == second.run_dir == Path(config.run_dir)


def test_a_run_never_overwrites_its_own_input(inputs):
    for name in ("a", "b"):
        (inputs / "in" / f"{name}.txt").rename(inputs / "in" / f"{name}.out")
    (inputs / "link").symlink_to(inputs / "in")
    for output in ("in", "link"):
        for adopt in (False, True):
            config = toy_config(inputs, stage__output=str(inputs / output), adopt=adopt)
            with pytest.raises(RunMismatchError, match=r"overwrite its own input|exists already"):
                run_here(config)
    with pytest.raises(RunMismatchError, match=r"overwrite its own input .*in/a\.out"):
        run_here(toy_config(inputs, stage__output=str(inputs / "link"), adopt=True))
    assert (inputs / "in" / "a.out").read_text() == "one"


def test_an_output_folder_that_was_removed_is_noticed_and_made_again(inputs):
    config = toy_config(inputs, stage__output=str(inputs / "out"))
    first = run_here(config)
    shutil.rmtree(inputs / "out")
    with pytest.raises(RunMismatchError, match=r"2 outputs .* are gone .*verify .* --requeue"):
        run_here(config)
    assert verify([str(first.run_dir), "--requeue"]) == 3
    assert run_here(config).exit_code == 0
    assert (inputs / "out" / "a.out").read_text() == "hello ONE"
    assert run_here(toy_config(inputs, stage__output=str(inputs / "out"))).run_dir == first.run_dir


def test_files_that_a_run_did_not_make_are_left_out_aloud(inputs, capsys):
    output = inputs / "out"
    run_here(toy_config(inputs, stage__output=str(output)))
    (output / "stray.out").write_text("stray")
    run_here(toy_config(inputs, stage__input=str(output / "*.out")))
    assert "left out: 1 file among the outputs of run" in capsys.readouterr().err


def test_a_run_that_writes_into_the_input_folder_does_not_hide_the_inputs(inputs):
    run_here(toy_config(inputs, stage__output=str(inputs / "in")))
    started = run_here(toy_config(inputs, stage__input=str(inputs / "in" / "*.txt"), run_name="x"))
    assert sorted(e.shard for e in events_of(started.run_dir, "done")) == ["a", "b"]


def test_an_input_that_was_mended_is_done_after_a_retry(inputs):
    write_inputs(inputs, b="bad")
    config = toy_config(inputs)
    first = run_here(config)
    assert first.exit_code == 3
    write_inputs(inputs, b="mended")
    assert retry([str(first.run_dir)]) == 0
    assert run_here(config).exit_code == 0
    assert (first.run_dir / "out" / "b.out").read_text() == "hello MENDED"


def test_the_result_says_what_was_counted(inputs, capsys):
    run_here(toy_config(inputs))
    assert "counted    samples_in 2" in capsys.readouterr().out


def test_a_listing_error_names_the_option(inputs):
    with pytest.raises(PlanError, match=r"stage\.input: .*/nope"):
        run_here(toy_config(inputs, stage__input=str(inputs / "nope")))
