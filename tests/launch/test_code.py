"""The code that shards are made by: found where it was launched, and told when it changes."""

import json
import os
import subprocess
import sys

import pytest

from hpcpipe.manifest.code import Code
from hpcpipe.runtime.code import changes, code_of
from tests.toys.toy import Toy
from tests.user_project import make_project


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a stage of their own, two inputs, and a git repository."""
    folder = make_project(tmp_path / "project")
    (folder / "in").mkdir()
    for name in ("a", "b"):
        (folder / "in" / f"{name}.txt").write_text("one\n")
    return folder


def hpcpipe(folder, *args, cwd=None, **env):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hpcpipe", *args],
        cwd=cwd or folder,
        env=os.environ | {"HPCPIPE_RUNS": str(folder / "runs"), "NO_COLOR": "1"} | env,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def lines(folder, *args, **env):
    return hpcpipe(folder, "stage=lines", f"stage.input={folder}/in", *args, **env)


def only_run(folder):
    return next((folder / "runs" / "lines").iterdir())


def git(folder, *args):
    identity = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    subprocess.run(["git", "-C", folder, *identity, *args], check=True, capture_output=True)


def test_finished_shards_of_other_code_are_told_and_stay(folder):
    git(folder, "init")
    git(folder, "add", "line_stage.py")
    git(folder, "commit", "-m", "x")
    code, shown = lines(folder, "limit=1")
    assert code == 0, shown
    (launch,) = (json.loads(p.read_text()) for p in only_run(folder).glob("launches/*.json"))
    assert launch["code"]["stage_file"] == str(folder / "line_stage.py")
    assert len(launch["code"]["stage_hash"]) == 16
    commit = launch["code"]["stage_commit"]
    assert len(commit) == 12
    assert "warning" not in lines(folder, "limit=1")[1]
    with (folder / "line_stage.py").open("a") as file:
        file.write("\n# better now\n")
    code, shown = lines(folder)
    assert code == 0
    assert (
        f"warning: the code changed since launch 1: {folder}/line_stage.py changed; "
        f"the stage's commit was {commit}, is {commit}-dirty. 1 finished shard stay" in shown
    )
    code, shown = hpcpipe(folder, "status", str(only_run(folder)))
    assert f"code       other in launch 2 than in launch 1: {folder}/line_stage.py" in shown
    tree = json.loads(hpcpipe(folder, "status", str(only_run(folder)), "--json")[1])
    assert len(tree["code_changes"]) == 1


def test_a_worker_that_starts_after_a_change_says_so(folder):
    code, shown = lines(folder, "launcher=script", "-m")
    assert code == 0, shown
    with (folder / "line_stage.py").open("a") as file:
        file.write("\n# better now\n")
    run = only_run(folder)
    assert hpcpipe(folder, "work", str(run), "--launch=1")[0] == 0
    (log,) = (run / "logs").glob("*.log")
    told = f"1 worker of launch 1 found {folder}/line_stage.py changed since it was launched"
    assert told in log.read_text()
    assert f"code       {told}" in hpcpipe(folder, "status", str(run))[1]


@pytest.mark.parametrize("how", ["paths.code", "PYTHONPATH"])
def test_a_stage_is_imported_from_where_the_launch_found_it(folder, tmp_path, how):
    (folder / "src").mkdir()
    (folder / "line_stage.py").rename(folder / "src" / "line_stage.py")
    option = ["paths.code=src"] if how == "paths.code" else ["paths.code=/"]
    env = {"PYTHONPATH": "src"} if how == "PYTHONPATH" else {}
    code, shown = lines(folder, "launcher=script", "-m", *option, **env)
    assert code == 0, shown
    assert hpcpipe(folder, "work", str(only_run(folder)), "--launch=1", cwd=tmp_path)[0] == 0
    assert len(list((only_run(folder) / "out").glob("*.count"))) == 2


def test_workers_on_this_machine_find_it_too(folder):
    (folder / "src").mkdir()
    (folder / "line_stage.py").rename(folder / "src" / "line_stage.py")
    options = ["launcher=local", "-m", "paths.code=/", "resources=cpu"]
    code, shown = lines(folder, *options, PYTHONPATH="src")
    assert code == 0, shown
    assert "complete: 2 done" in shown


def test_a_stage_that_cannot_be_imported_is_named_and_no_shard_taken(folder, tmp_path):
    assert lines(folder, "launcher=script", "-m")[0] == 0
    (folder / "line_stage.py").rename(folder / "moved.py")
    run = only_run(folder)
    code, shown = hpcpipe(folder, "work", str(run), "--launch=1", cwd=tmp_path)
    assert code == 2
    assert f"there is no module line_stage for line_stage.Lines. Looked in {folder}" in shown
    assert "set paths.code" in shown
    assert f"run by {sys.executable} in {tmp_path}; the launch found it in {folder}" in shown
    assert "Traceback" not in shown
    assert not list((run / "claims").glob("*/*"))


def test_what_is_installed_needs_no_folder():
    code = code_of(Toy, {})
    assert code.stage_commit == ""
    assert code.import_path != ""
    from hpcpipe.stages.reshard import Reshard

    assert code_of(Reshard, {}).import_path == ""


def test_what_is_not_known_has_not_changed():
    known = Code(version="1", commit="a", stage_file="x.py", stage_hash="1", stage_commit="b")
    assert changes(Code(), known) == []
    assert changes(known, Code(version="1")) == []
    assert changes(known, Code(version="2", commit="c")) == [
        "hpcpipe was 1, is 2",
        "hpcpipe's commit was a, is c",
    ]
