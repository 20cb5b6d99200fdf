"""Runs that several users share, and runs whose folder is closed to some."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from hpcpipe.__main__ import main
from hpcpipe.cli import work
from hpcpipe.errors import RunMismatchError, SetupError
from hpcpipe.launch.start import start
from hpcpipe.manifest.journal import Event, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.access import user_name
from hpcpipe.runtime.find import find_run, list_runs
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs
from tests.users import ALICE, BOB, LAB, as_user


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory):
    """What a run needs of other packages, as `tests.users` does with our own."""
    folder = tmp_path_factory.mktemp("first")
    write_inputs(folder, a="one", b="crash")
    run_here(toy_config(folder))
    list_runs(folder / "runs")


@pytest.fixture
def shared():
    """A folder that its group may write to, below folders that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="hpcpipe-", dir="/tmp") as name:
        folder = Path(name)
        write_inputs(folder, a="one", b="two", c="three")
        os.chown(folder, -1, LAB)
        folder.chmod(0o2775)
        yield folder


def test_two_users_of_a_group_work_on_one_run(shared):
    first, rest = toy_config(shared, limit=1), toy_config(shared)
    with as_user(ALICE):
        run_dir = run_here(first).run_dir
    with as_user(BOB):
        assert run_here(rest).exit_code == 0
    with as_user(ALICE):
        assert run_here(rest).exit_code == 0
    writers = {path.stat().st_uid for path in (run_dir / "journal").iterdir()}
    assert writers == {ALICE.uid, BOB.uid}
    assert {path.stat().st_gid for path in run_dir.rglob("*")} == {LAB}
    assert sorted(path.name for path in (run_dir / "out").glob("*.out")) == [
        "a.out", "b.out", "c.out"
    ]  # fmt: skip


def test_a_dead_workers_shard_is_taken_over_by_another_user(shared):
    write_inputs(shared, a="kill 2")
    config = toy_config(shared)
    if not (child := os.fork()):
        try:
            with as_user(ALICE):
                run_here(config)
        finally:
            os._exit(0)  # never on into pytest
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with as_user(BOB):
        assert run_here(config).exit_code == 0
    (lost,) = events_of(Path(config.run_dir), "lost")
    assert state_of(Path(config.run_dir), config).done_attempt("a") == lost.attempt + 1


def test_a_run_that_the_group_may_not_write_to_says_what_to_type(shared):
    first, rest = toy_config(shared, limit=1), toy_config(shared)
    with as_user(ALICE._replace(umask=0o022)):
        run_dir = run_here(first).run_dir
    for begin in (lambda: run_here(rest), lambda: work.main([str(run_dir)])):
        with as_user(BOB), pytest.raises(SetupError) as error:
            begin()
        assert f"{run_dir} may not be written by" in str(error.value)
    assert f"user {ALICE.uid} types: chmod -R g+rwX {run_dir};" in str(error.value)
    assert len(RunDir(run_dir).read_launches()) == 1
    with as_user(ALICE):
        subprocess.run(["chmod", "-R", "g+rwX", run_dir], check=True)
    with as_user(BOB):
        assert run_here(rest).exit_code == 0


def test_an_output_folder_that_may_not_be_written_is_told_before_any_shard(shared):
    first = toy_config(shared, limit=1, stage__output=str(shared / "out"))
    with as_user(ALICE):
        run_dir = run_here(first).run_dir
        (shared / "out").chmod(0o2755)
    with as_user(BOB), pytest.raises(SetupError, match=r"/out may not be written.*chmod -R g\+rwX"):
        run_here(toy_config(shared, stage__output=str(shared / "out")))
    assert len(JournalReader(run_dir / "journal", Event).read()) == 1


def test_a_private_run_is_named_as_such_and_passed_over_in_lists(shared):
    config = toy_config(shared, limit=1)
    with as_user(ALICE):
        run_dir = run_here(config).run_dir
        run_dir.chmod(0o700)
    with as_user(BOB):
        assert list_runs(shared / "runs") == []
        with pytest.raises(RunMismatchError, match=rf"not be read by you.*user {ALICE.uid}.*chmod"):
            find_run(str(run_dir), shared / "runs")
        with pytest.raises(RunMismatchError, match=r"is closed to you: give another run_dir"):
            start(config, "here")


def test_another_users_stop_file_serves_as_well(shared):
    config = toy_config(shared, limit=1)
    with as_user(ALICE):
        run = RunDir(run_here(config).run_dir)
        run.ask_to_stop()
        run.stop_file.chmod(0o644)
    with as_user(BOB):
        run.ask_to_stop()
        assert run_here(toy_config(shared)).exit_code == 0
    assert not run.stop_file.exists()


def test_nothing_of_a_run_may_be_written_by_everybody_whatever_the_umask(shared):
    config = toy_config(shared)
    with as_user(ALICE._replace(umask=0)):
        run_dir = run_here(config).run_dir
    for path in (run_dir, *run_dir.rglob("*")):
        if path.parent.name not in ("out", ".hpcpipe", "logs"):
            assert not path.stat().st_mode & stat.S_IWOTH, path


def test_a_user_without_a_name_has_a_number(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with as_user(BOB):
        assert user_name() == str(BOB.uid)


@pytest.mark.parametrize(
    "words",
    [("retry",), ("retry", "--all"), ("verify", "--requeue"), ("cancel", "--drain"), ("clean",)],
)
def test_verbs_that_change_the_run_of_another_say_whose_it_is(shared, words, capsys):
    write_inputs(shared, a="bad")
    with as_user(ALICE._replace(umask=0o022)):
        run_dir = run_here(toy_config(shared)).run_dir
        (run_dir / "out" / "b.out").write_text("spoiled")
        (run_dir / "partial" / "00" / "3.1").mkdir(parents=True, exist_ok=True)
    with as_user(BOB):
        assert main([words[0], str(run_dir), *words[1:]]) == 2
    error = capsys.readouterr().err
    assert f"may not be written by {BOB.uid}: it belongs to user {ALICE.uid}" in error
    assert f"user {ALICE.uid} types: chmod -R g+rwX {run_dir};" in error
