import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from hpcpipe.errors import ConfigError, PlanError, RunMismatchError
from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import FINALIZE, Event, JournalReader
from hpcpipe.runtime import changes
from hpcpipe.runtime.changes import extend_plan, reset_shards
from hpcpipe.runtime.replanning import keep_artifacts, new_artifacts
from hpcpipe.runtime.results import open_state
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs

ROOT = Path(__file__).parents[2]


def out(config, name):
    return (Path(config.output) / f"{name}.out").read_text()


@pytest.mark.parametrize("when", ["before the plan is added", "after the plan is added"])
def test_a_command_that_dies_while_it_extends_leaves_no_old_results(tmp_path, monkeypatch, when):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path)
    run_here(config)
    write_inputs(tmp_path, a="other")

    add_plan = changes._add_plan

    def die(*args):
        if when.startswith("after"):
            add_plan(*args)
        raise KeyboardInterrupt

    run = prepare(config)[0]
    with monkeypatch.context() as patch:
        patch.setattr(changes, "_add_plan", die)
        with pytest.raises(KeyboardInterrupt):
            extend_plan(run, config)
    assert run_here(toy_config(tmp_path, extend=True)).exit_code == 0
    assert out(config, "a") == "hello OTHER"


def test_new_shards_never_overwrite_what_is_there(tmp_path):
    write_inputs(tmp_path, a="one")
    output = tmp_path / "out"
    started = run_here(toy_config(tmp_path, stage__output=str(output)))
    (output / "b.out").write_text("precious")
    write_inputs(tmp_path, b="two")
    extended = toy_config(tmp_path, stage__output=str(output), extend=True)
    with pytest.raises(RunMismatchError, match=r"b\.out exists already"):
        run_here(extended)
    assert (output / "b.out").read_text() == "precious"
    assert len(list(started.run_dir.glob("plan*.jsonl"))) == 1
    (output / "b.out").unlink()
    assert run_here(extended).exit_code == 0


def test_equal_output_names_are_refused_in_the_default_folder_and_when_extending(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tests.toys.toy.Toy.planned_outputs", lambda self, shard: ("same.out",))
    write_inputs(tmp_path, a="one", b="two")
    with pytest.raises(PlanError, match=r"shards a and b would both write same\.out"):
        prepare(toy_config(tmp_path))
    (tmp_path / "in" / "b.txt").unlink()
    prepare(toy_config(tmp_path))
    write_inputs(tmp_path, b="two")
    with pytest.raises(PlanError, match=r"shards a and b would both write same\.out"):
        prepare(toy_config(tmp_path, extend=True))


def test_a_stage_whose_shards_fail_as_a_whole_has_nothing_inside_them_to_retry(tmp_path):
    write_inputs(tmp_path, a="one")
    run_here(toy_config(tmp_path))
    with pytest.raises(ConfigError, match=r"nothing failed in finished shards\. .* hpcpipe retry"):
        run_here(toy_config(tmp_path, retry_failed=True))


def test_shards_of_failures_never_stand_for_others(tmp_path, monkeypatch):
    def others(self, ctx):
        return (replace(shard, inputs=()) for shard in ctx.planned())

    write_inputs(tmp_path, a="one")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    monkeypatch.setattr("tests.toys.toy.Toy.plan_retries", others)
    with pytest.raises(PlanError, match=r"gave shard a, which the run has with other inputs"):
        run_here(toy_config(tmp_path, retry_failed=True))
    assert len(list(run_dir.glob("plan*.jsonl"))) == 1


def test_what_is_to_be_done_again_stays_done_until_that_is_planned(tmp_path, monkeypatch):
    def again(self, ctx):
        found = {result.shard_id: result.outputs[0].checksum for result in ctx.results()}
        return (replace(shard, meta={"made": found[shard.id]}) for shard in ctx.planned())

    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path)
    run_dir = run_here(config).run_dir
    monkeypatch.setattr("tests.toys.toy.Toy.plan_retries", again)

    take_in = changes._take_in

    def die(*args):
        raise KeyboardInterrupt

    def die_then(*args):
        take_in(*args)
        die()

    for name, dies in (("_take_in", die), ("_add_plan", die), ("_take_in", die_then)):
        with monkeypatch.context() as patch:
            patch.setattr(changes, name, dies)
            with pytest.raises(KeyboardInterrupt):
                prepare(toy_config(tmp_path, retry_failed=True))
        assert state_of(run_dir, config).counts()["done"] == 1
    assert run_here(toy_config(tmp_path, retry_failed=True)).exit_code == 0
    assert [event.attempt for event in events_of(run_dir, "done")] == [1, 2]
    assert state_of(run_dir, config).plan.shard(0).meta["made"].startswith("xxh3_128:")


@pytest.mark.parametrize("error", [None, errno.EPERM])
def test_new_artifacts_never_take_the_place_of_others(tmp_path, monkeypatch, error):
    write_inputs(tmp_path, a="one")
    run = prepare(toy_config(tmp_path))[0]
    (run.artifacts / "old").write_text("as it was")
    with new_artifacts(run) as folder:
        (folder / "old").write_text("other")
        (folder / "new").write_text("new")
        (folder / "new").chmod(0o666)
        if error:  # a filesystem without hard links

            def refuse(*args):
                raise OSError(error, os.strerror(error))

            monkeypatch.setattr(os, "link", refuse)
        keep_artifacts(run, folder)
    found = {path.name: path.read_text() for path in run.artifacts.iterdir()}
    assert found == {"old": "as it was", "new": "new"}
    assert (run.artifacts / "new").stat().st_mode & 0o777 == 0o664
    assert not folder.exists()


def test_finalize_that_is_claimed_while_shards_are_reset_does_not_count(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path, "final", limit=1)
    run = prepare(config)[0]
    identity = run.workers / "w.json"
    identity.write_text("{}")
    claims, real = Claims(run.claims, identity), changes.last_attempts
    calls = []

    def claimed_meanwhile(folder):
        attempts = real(folder)
        if not calls:  # just after the reset has looked for attempts on shards
            claims.take(FINALIZE, 1)
        calls.append(folder)
        return attempts

    monkeypatch.setattr(changes, "last_attempts", claimed_meanwhile)
    reset_shards(run, open_state(run, config)[0], ["a"])
    events = [event for _, event in JournalReader(run.journal, Event).read()]
    assert [(event.shard, event.attempt) for event in events] == [("a", 0), (FINALIZE, 1)]


def test_a_run_that_is_extended_while_it_works_ends_complete(tmp_path):
    write_inputs(tmp_path, **{f"s{n}": "slow 0.4" for n in range(8)}, z="short")
    code = (
        "import sys; from pathlib import Path; from tests.toys.runs import *\n"
        "config = toy_config(Path(sys.argv[1]), 'final', extend=len(sys.argv) > 2)\n"
        "sys.exit(run_here(config).exit_code)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    config = toy_config(tmp_path, "final")
    run_dir = Path(config.run_dir)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as first:
        while not (run_dir.exists() and events_of(run_dir, "done")):
            assert first.poll() is None
        # The last shard to be done changes, one that is done changes, and one is new.
        (done, *_) = events_of(run_dir, "done")
        write_inputs(tmp_path, z="longer", new="n", **{done.shard: "slow 0.02"})
        # It has work left when the plan changes, however long the other command takes to start.
        first.send_signal(signal.SIGSTOP)
        with subprocess.Popen([*command, "extend"], cwd=ROOT, stdout=subprocess.DEVNULL) as extend:
            while not (run_dir / "plan-0002.jsonl").exists():
                assert extend.poll() is None
            first.send_signal(signal.SIGCONT)
            assert (first.wait(30), extend.wait(30)) == (0, 0)
    assert events_of(run_dir, "failed") == []
    assert state_of(run_dir, config).counts()["done"] == 10
    assert out(config, "z") == "hello LONGER"
    assert out(config, done.shard) == "hello SLOW 0.02"
    listed = (Path(config.output) / "list.txt").read_text().split()
    assert sorted(listed[::2]) == sorted(["new", "z", *(f"s{n}" for n in range(8))])
