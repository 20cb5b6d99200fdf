"""What `verify` finds, and what it makes pending again."""

import os

import pytest

from tests.cli.runs import good_run, mixed_run, verb
from tests.toys.runs import run_here, state_of, toy_config, write_inputs


def test_nothing_wrong(tmp_path, capsys):
    run_dir = good_run(tmp_path, "final")
    assert verb("verify", run_dir, "--deep") == 0
    shown = capsys.readouterr().out
    assert "checked    4 files of 3 shards: names, sizes and contents" in shown
    assert "nothing wrong" in shown


def test_every_kind_of_damage_is_found_and_redone(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    out = run_dir / "out"
    (out / "a.out").unlink()
    (out / "b.out").write_text("longer than it was")
    content = (out / "c.out").read_bytes()
    (out / "c.out").write_bytes(content[::-1])
    capsys.readouterr()
    assert verb("verify", run_dir) == 3
    shown = capsys.readouterr().out
    assert f"missing    {out}/a.out: there is no such file" in shown
    assert f"size       {out}/b.out: 18 bytes, 9 were recorded" in shown
    assert "c.out" not in shown
    assert f"python -m hpcpipe verify {run_dir} --requeue" in shown
    assert verb("verify", run_dir, "--deep", "--requeue") == 3
    shown = capsys.readouterr().out
    assert f"checksum   {out}/c.out: xxh3_128:" in shown
    assert "requeued   3 shards" in shown
    assert state_of(run_dir, toy_config(tmp_path)).counts()["pending"] == 3
    assert verb("work", run_dir) == 0
    assert verb("verify", run_dir, "--deep") == 0
    assert (out / "c.out").read_bytes() == content


def test_a_lost_list_of_the_last_step_is_redone(tmp_path, capsys):
    run_dir = good_run(tmp_path, "final")
    (run_dir / "out" / "list.txt").unlink()
    assert verb("verify", run_dir, "--requeue") == 3
    assert "requeued   0 shards" in capsys.readouterr().out
    assert verb("verify", run_dir) == 4
    assert "not done   the last step (finalize)" in capsys.readouterr().out
    assert verb("work", run_dir) == 0
    assert verb("verify", run_dir) == 0


def test_shards_that_are_not_done_are_told(tmp_path, capsys):
    write_inputs(tmp_path, a="fine", b="fine", c="fine")
    run_dir = run_here(toy_config(tmp_path, limit=1)).run_dir
    assert verb("verify", run_dir) == 4
    assert "not done   2 pending" in capsys.readouterr().out


def test_quarantined_shards_are_told(tmp_path, capsys):
    assert verb("verify", mixed_run(tmp_path)) == 3
    assert "not done   1 quarantined" in capsys.readouterr().out


def test_by_the_output_folder(tmp_path, capsys):
    folder = tmp_path / "named"
    run_dir = good_run(tmp_path, stage__output=str(folder))
    (folder / "b.out").unlink()
    assert verb("verify", folder) == 3
    shown = capsys.readouterr().out
    assert f"missing    {folder}/b.out" in shown
    assert f"verify {run_dir} --requeue" in shown


def test_an_unreadable_file_is_left_to_the_user(tmp_path, capsys, monkeypatch):
    run_dir = good_run(tmp_path)
    real = os.stat

    def stat(path, *args, **options):
        if str(path).endswith("out/b.out"):
            raise OSError(5, "Input/output error", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr("hpcpipe.runtime.results.os.stat", stat)
    assert verb("verify", run_dir, "--requeue") == 3
    shown = capsys.readouterr().out
    assert "unreadable" in shown
    assert "Input/output error" in shown
    assert "left       unreadable files" in shown
    monkeypatch.undo()
    assert state_of(run_dir, toy_config(tmp_path)).counts()["done"] == 3


@pytest.mark.parametrize("flag", ["--deep", "--requeue"])
def test_flags_are_explained(capsys, flag):
    with pytest.raises(SystemExit) as stop:
        verb("verify", "--help")
    assert stop.value.code == 0
    assert flag in capsys.readouterr().out
