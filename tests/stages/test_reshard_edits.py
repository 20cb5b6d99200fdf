"""Edits that runs of ours made, and reports of those that match nothing, through whole runs."""

import json

import pytest

import hpcpipe
from hpcpipe.cli import status
from hpcpipe.errors import PlanError, UpstreamIncompleteError
from tests.cli.test_status_json import described
from tests.stages.tars import read_tar, sample, write_tar


def run(folder, name, **options):
    """Reshard ``folder/in`` with the edits in ``folder/edits`` in a run called `name`."""
    given = {"input": f"{folder}/in", "output": f"{folder}/{name}"} | options
    overrides = [f"run_dir={folder}/runs/{name}", "run.backoff_s=0"]
    overrides += options.pop("overrides", [])
    given.pop("overrides", None)
    return hpcpipe.run("reshard", overrides=overrides, **given)


@pytest.fixture
def folder(tmp_path):
    """Tars 0 and 1 of one sample each; what is to become their edits, in ``raw``."""
    for name in "01":
        write_tar(tmp_path / f"in/{name}.tar", sample(f"k{name}"))
        write_tar(tmp_path / f"raw/{name}.tar", [(f"k{name}.txt", b"new")])
    return tmp_path


def test_what_matches_nothing_is_listed_in_one_place_and_told_to_the_end(folder, capsys):
    write_tar(folder / "raw/1.tar", [("k1.txt", b"new"), ("lost.jpg", b"1"), ("lost.txt", b"2")])
    write_tar(folder / "raw/77.tar", [("x.txt", b"x")])
    (folder / "raw/older").mkdir()
    assert run(folder, "out", edits=f"{folder}/raw").exit_code == 0
    told = capsys.readouterr().out
    assert status.main([f"{folder}/runs/out"]) == 0
    for text in (told, capsys.readouterr().out):
        assert "plan       edits for 2 of the 2 shards" in text
        assert "2 entries belong to no shard" in text
        assert ": 77.tar, older; see artifacts/edits_of_no_shard.txt in the run directory" in text
        assert f"listed     edits_unmatched 1: {folder}/out/edits_unmatched, lost for one" in text
    assert (folder / "runs/out/artifacts/edits_of_no_shard.txt").read_text() == "77.tar\nolder\n"
    lists = sorted((folder / "out/edits_unmatched").iterdir())
    assert [(path.name, path.read_text()) for path in lists] == [("1.txt", "lost\n")]
    assert status.main([f"{folder}/runs/out", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["listed"]
    assert list(listed) == described("`listed[]`")
    assert listed["number"] == 1


def test_edits_that_a_run_made_are_taken_from_its_manifest(folder, capsys):
    run(folder, "edits", input=f"{folder}/raw")
    write_tar(folder / "edits/2.tar", [("stray.txt", b"not of the run")])
    write_tar(folder / "in/2.tar", sample("stray"))
    assert run(folder, "out", edits=f"{folder}/edits").exit_code == 0
    assert dict(read_tar(folder / "out/1.tar"))["k1.txt"] == b"new"
    assert dict(read_tar(folder / "out/2.tar")) == dict(sample("stray"))
    assert "edits for 2 of the 3 shards" in capsys.readouterr().out


def test_edits_of_a_run_that_is_not_complete_are_refused_and_failed_shards_have_none(folder):
    (folder / "raw/1.tar").write_bytes(b"")
    allowing = ["run.max_failed_fraction=0.5"]
    assert run(folder, "edits", input=f"{folder}/raw").exit_code == 3
    with pytest.raises(UpstreamIncompleteError, match="1 quarantined"):
        run(folder, "out", edits=f"{folder}/edits")
    assert run(folder, "edits", input=f"{folder}/raw", overrides=allowing).exit_code == 0
    assert run(folder, "out", edits=f"{folder}/edits").exit_code == 0
    assert dict(read_tar(folder / "out/0.tar"))["k0.txt"] == b"new"
    assert dict(read_tar(folder / "out/1.tar")) == dict(sample("k1"))


def test_recorded_edits_that_are_gone_are_missed(folder):
    run(folder, "edits", input=f"{folder}/raw")
    (folder / "edits/1.tar").unlink()
    with pytest.raises(PlanError, match=r"edits/1\.tar is recorded .* --requeue"):
        run(folder, "out", edits=f"{folder}/edits")


def test_an_empty_tar_of_edits_changes_nothing(folder):
    write_tar(folder / "raw/1.tar", [])
    run(folder, "edits", input=f"{folder}/raw")
    assert run(folder, "out", edits=f"{folder}/edits").exit_code == 0
    assert (folder / "out/1.tar").read_bytes() == (folder / "in/1.tar").read_bytes()


def test_what_belongs_to_no_shard_is_found_beside_and_above_shards_in_folders(folder, tmp_path):
    write_tar(tmp_path / "deep/a/0.tar", sample("k0"))
    write_tar(tmp_path / "deep/b/c/1.tar", sample("k1"))
    for name in ("a/0", "a/9", "b/8", "7", "z/6"):
        write_tar(tmp_path / f"given/{name}.tar", [("k0.txt", b"new")])
    options = {"input": f"{tmp_path}/deep/**/*.tar", "edits": f"{tmp_path}/given"}
    assert run(tmp_path, "out", **options).exit_code == 0
    listing = tmp_path / "runs/out/artifacts/edits_of_no_shard.txt"
    assert listing.read_text().splitlines() == ["7.tar", "a/9.tar", "b/8.tar", "z"]


def test_a_folder_below_a_runs_output_is_listed_from_its_manifest(folder):
    """As the steps of a pipeline read ``OUTPUT/captions``."""
    write_tar(folder / "nested/x/0.tar", sample("k0"))
    write_tar(folder / "nested/y/0.tar", []).write_bytes(b"")
    nested = f"{folder}/nested/*/*.tar"
    assert run(folder, "made", input=nested).exit_code == 3
    with pytest.raises(UpstreamIncompleteError, match="1 quarantined"):
        run(folder, "out", input=f"{folder}/made/x")
    allowing = ["run.max_failed_fraction=0.5"]
    assert run(folder, "made", input=nested, overrides=allowing).exit_code == 0
    write_tar(folder / "made/x/stray.tar", sample("k9"))
    assert run(folder, "out", input=f"{folder}/made/x").exit_code == 0
    assert [path.name for path in (folder / "out").glob("*.tar")] == ["0.tar"]


def test_a_recorded_file_that_is_gone_is_missed_by_a_pattern_at_any_depth(folder):
    write_tar(folder / "nested/x/0.tar", sample("k0"))
    write_tar(folder / "nested/1.tar", sample("k1"))
    run(folder, "made", input=f"{folder}/nested/**/*.tar")
    (folder / "made/1.tar").unlink()
    with pytest.raises(PlanError, match=r"made/1\.tar is recorded"):
        run(folder, "out", input=f"{folder}/made/**/*.tar")
