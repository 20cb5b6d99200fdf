"""Node-local scratch: what a worker asks of it, and what the next one clears away."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from hpcpipe.errors import SetupError
from hpcpipe.manifest.identity import own_identity
from hpcpipe.runtime.scratch import OWNER_FILE, Owner, dead_folders, make_scratch, scratch_root
from tests.cli.runs import begun_run, verb, working
from tests.toys.runs import run_here, toy_config, write_inputs
from tests.users import ALICE, as_user


@pytest.fixture
def me():
    return own_identity("here-1-0-0123abcd", "here-1-0", 1)


@pytest.fixture
def gone(me):
    """A worker of this machine whose process has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return msgspec.structs.replace(me, pid=child.pid)


def left_by(folder, identity, run_dir="/runs/x"):
    """A scratch folder with something in it, as its owner left it."""
    folder.mkdir()
    (folder / OWNER_FILE).write_bytes(msgspec.json.encode(Owner(identity, run_dir)))
    (folder / "shard-1").mkdir()
    (folder / "shard-1" / "data").write_text("x")
    return folder


def test_what_a_killed_worker_left_goes_and_nothing_else(tmp_path, me, gone):
    dead = left_by(tmp_path / "hpcpipe-a-1", gone)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "data").write_text("x")
    (dead / "link").symlink_to(tmp_path / "elsewhere")
    kept = [
        left_by(tmp_path / "hpcpipe-b-2", me),
        left_by(tmp_path / "hpcpipe-c-3", msgspec.structs.replace(gone, machine="other boot")),
        left_by(tmp_path / "other-d-4", gone),
        tmp_path / "hpcpipe-e-5",
        tmp_path / "hpcpipe-f-6",
        tmp_path / "hpcpipe-g-7",
        tmp_path / "elsewhere" / "data",
    ]
    kept[3].mkdir()
    kept[4].mkdir()
    (kept[4] / OWNER_FILE).write_text("no JSON")
    kept[5].symlink_to(left_by(tmp_path / "dead-but-linked", gone))
    made = make_scratch(tmp_path, me, tmp_path)
    assert not dead.exists()
    assert all(path.exists() for path in kept)
    assert (tmp_path / "dead-but-linked").exists()
    assert made.stat().st_mode & 0o777 == 0o700


def test_what_others_put_there_is_left_alone(tmp_path, gone):
    theirs = left_by(tmp_path / "hpcpipe-a-1", gone)
    os.chown(theirs, ALICE.uid, ALICE.gid)
    planted = left_by(tmp_path / "hpcpipe-b-2", gone)
    os.chown(planted / OWNER_FILE, ALICE.uid, ALICE.gid)
    linked = tmp_path / "hpcpipe-c-3"
    linked.mkdir()
    (linked / OWNER_FILE).symlink_to(planted / OWNER_FILE)
    assert list(dead_folders(tmp_path)) == []


def test_a_node_that_was_started_anew_has_no_living_owners(tmp_path, me):
    before = msgspec.structs.replace(me, machine="boot-before pid:[1]", started_at=1.0)
    names = {
        "rebooted": before,
        "another": msgspec.structs.replace(before, host="n17"),
        "later": msgspec.structs.replace(before, started_at=me.started_at),
    }
    for name, identity in names.items():
        left_by(tmp_path / f"hpcpipe-{name}", identity)
    assert [path.name for path, _ in dead_folders(tmp_path)] == ["hpcpipe-rebooted"]


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_scratch_that_cannot_be_used_stops_the_worker_before_any_shard(tmp_path, capsys):
    write_inputs(tmp_path, a="one")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    write_inputs(tmp_path, b="two")
    scratch = tmp_path / "local"
    config = toy_config(tmp_path, run__scratch=str(scratch), extend=True)
    host = os.uname().nodename
    with pytest.raises(SetupError, match=rf"{scratch} cannot be used: No such file.* node {host}"):
        run_here(config)
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    assert f"1 ended early: SetupError: scratch folder {scratch}" in capsys.readouterr().out
    assert len(list((run_dir / "claims").glob("*/1.*"))) == 0
    scratch.mkdir()
    assert run_here(config).exit_code == 0
    assert list(scratch.iterdir()) == []


def test_scratch_that_is_full_is_told_at_once(small_disk, me):
    (small_disk / "data").write_bytes(bytes(1536 << 10))
    with pytest.raises(SetupError, match=r"is full, on node .*run\.scratch"):
        make_scratch(small_disk, me, small_disk)
    assert [path.name for path in small_disk.iterdir()] == ["data"]


def test_variables_of_the_login_node_do_not_count_where_they_name_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch_root(None) == tmp_path
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    assert scratch_root(None) == Path("/tmp")
    assert scratch_root("/else") == Path("/else")
    with tempfile.TemporaryDirectory(dir="/tmp") as closed, as_user(ALICE):
        monkeypatch.setenv("TMPDIR", closed)
        assert scratch_root(None) == Path("/tmp")


def test_clean_names_the_scratch_of_this_runs_dead_workers(tmp_path, capsys, monkeypatch):
    scratch = tmp_path / "local"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    run_dir = begun_run(tmp_path, a="one", b="kill 99")
    with working(run_dir, TMPDIR=str(scratch)) as process:
        process.wait(60)
    (left,) = scratch.iterdir()
    owner = msgspec.json.decode((left / OWNER_FILE).read_bytes(), type=Owner)
    other = left_by(scratch / "hpcpipe-other", owner.identity)
    capsys.readouterr()
    assert verb("clean", run_dir, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert f"{left}" in shown
    assert "would go   1 scratch folder" in shown
    assert verb("clean", run_dir) == 0
    assert not left.exists()
    assert other.exists()
