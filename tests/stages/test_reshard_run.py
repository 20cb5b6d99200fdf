"""The overlay as a whole run: through planning, claims, commits and the exit code."""

import json
import os
import tarfile

import pytest

import hpcpipe
from hpcpipe.errors import PlanError
from tests.stages.tars import read_tar, sample, write_tar


def run(tmp_path, **options):
    overrides = [f"run_dir={tmp_path / 'run'}", "run.backoff_s=0"]
    given = {"input": str(tmp_path / "in" / "*.tar"), "output": str(tmp_path / "out")} | options
    return hpcpipe.run("reshard", overrides=overrides, **given)


def reasons(tmp_path):
    """The error of each quarantined shard, from the journals."""
    found = {}
    for path in (tmp_path / "run" / "journal").iterdir():
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "failed":
                found[event["shard"]] = event["error"]
    return found


BAD = {
    "truncated": lambda data: data[:3000],
    "html": lambda data: b"<html>not found</html>" * 100,
    "empty": lambda data: b"",
    "corrupt": lambda data: data[:2560] + b"\x07" * 512 + data[3072:],
    "joined": lambda data: data + data,
}


def test_bad_tars_are_quarantined_with_their_reason_and_the_others_finish(tmp_path):
    good = write_tar(tmp_path / "in" / "good.tar", [*sample("a"), *sample("b"), *sample("c")])
    for name, spoil in BAD.items():
        (tmp_path / "in" / f"{name}.tar").write_bytes(spoil(good.read_bytes()))
    write_tar(tmp_path / "in" / "repeated.tar", [*sample("a"), *sample("b"), *sample("a")])
    write_tar(tmp_path / "in" / "unsafe.tar", [("../a.jpg", b"1")])
    write_tar(tmp_path / "in" / "nothing.tar", [])
    result = run(tmp_path)
    assert result.exit_code == 3
    said = reasons(tmp_path)
    assert said.keys() == {*BAD, "repeated", "unsafe"}
    for name, expected in {
        "truncated": "is truncated: it has 3000 bytes",
        "html": "is not a tar file",
        "empty": "is empty (0 bytes)",
        "corrupt": "is corrupt: no valid tar header at byte 2560",
        "joined": "has data behind the end-of-archive block",
        "repeated": "the key 'a' comes again at byte",
        "unsafe": "has the unsafe name '../a.jpg'",
    }.items():
        assert expected in said[name]
        assert f"{tmp_path}/in/{name}.tar" in said[name]
    outputs = sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".")
    assert outputs == ["good.tar", "nothing.tar"]
    assert (tmp_path / "out" / "good.tar").read_bytes() == good.read_bytes()


def test_a_tar_or_edits_that_change_after_planning_are_refused(tmp_path, monkeypatch):
    from hpcpipe.stages.reshard import Reshard

    for name in "ab":
        write_tar(tmp_path / "in" / f"{name}.tar", sample(name))
    (tmp_path / "edits/a").mkdir(parents=True)
    (tmp_path / "edits/a/a.txt").write_bytes(b"new")
    setup = Reshard.setup

    def change_then_setup(self, ctx):
        (tmp_path / "edits/a/a.cls").write_bytes(b"late")
        os.utime(tmp_path / "in/b.tar", (1, 1))
        return setup(self, ctx)

    monkeypatch.setattr(Reshard, "setup", change_then_setup)
    assert run(tmp_path, edits=str(tmp_path / "edits")).exit_code == 3
    said = reasons(tmp_path)
    assert f"{tmp_path}/edits/a changed since the plan was made" in said["a"]
    assert f"{tmp_path}/in/b.tar changed since the plan was made" in said["b"]


def test_an_input_that_matches_nothing_says_what_is_there(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(b"")
    with pytest.raises(PlanError, match=r"a\.zip"):
        run(tmp_path)


def test_two_tars_of_one_name_are_refused(tmp_path):
    write_tar(tmp_path / "in" / "a.tar", sample("a"))
    write_tar(tmp_path / "in" / "a.tar.gz", sample("a"), mode="w:gz")
    with pytest.raises(PlanError, match="would both be shard 'a'"):
        run(tmp_path, input=str(tmp_path / "in"))


def test_from_store_to_store(tmp_path, s3_bucket):
    import fsspec

    fs = fsspec.filesystem("s3")
    members = [*sample("a", size=200_000), *sample("b"), *sample("c")]
    path = write_tar(tmp_path / "0.tar", members, tarfile.PAX_FORMAT)
    for name in ("0", "1"):
        fs.put_file(str(path), f"{s3_bucket}/in/{name}.tar")
    fs.pipe(f"{s3_bucket}/edits/0/a.jpg", b"loose")
    edits = write_tar(tmp_path / "1.tar", [("b.png", b"from a tar"), ("zz.txt", b"unmatched")])
    fs.put_file(str(edits), f"{s3_bucket}/edits/1.tar")
    fs.pipe(f"{s3_bucket}/keep.txt", b"a\nb\n")
    result = run(
        tmp_path,
        input=f"{s3_bucket}/in/*.tar",
        edits=f"{s3_bucket}/edits",
        keep=f"{s3_bucket}/keep.txt",
        output=f"{s3_bucket}/out",
    )
    assert result.exit_code == 0
    kept = dict(members[:6])
    for name, expected in {
        "0": [(k, b"loose" if k == "a.jpg" else v) for k, v in kept.items()],
        "1": [("b.png", b"from a tar") if k == "b.jpg" else (k, v) for k, v in kept.items()],
    }.items():
        fs.get_file(f"{s3_bucket}/out/{name}.tar", str(tmp_path / f"out-{name}.tar"))
        assert read_tar(tmp_path / f"out-{name}.tar") == expected
