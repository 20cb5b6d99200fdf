import gzip
import io
import json
import logging
import os
import subprocess
import tarfile

import pytest
import webdataset

from hpcpipe.errors import BadInputError, ConfigError, PlanError
from hpcpipe.stage import ShardStopped
from hpcpipe.stages.reshard import Reshard
from tests.stages.drive import RESHARD, Drive
from tests.stages.tars import read_tar, sample, write_tar


def reshard(folder, **options):
    return Reshard(**(RESHARD | {"input": f"{folder}/in"} | options))


def run(folder, **options):
    """Reshard the tars of ``folder/in``; gives the drive."""
    return Drive(reshard(folder, **options), folder / "run").run()


def loose(folder, shard, files):
    for name, content in files.items():
        path = folder / "edits" / shard / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder / "edits")


@pytest.fixture
def shard(tmp_path):
    """One tar of three samples, a, b and c."""
    members = [*sample("a"), *sample("b"), *sample("c")]
    write_tar(tmp_path / "in" / "0.tar", members)
    return dict(members)


def result(folder, name="0"):
    return dict(read_tar(folder / "run" / "out" / f"{name}.tar"))


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_without_edits_the_tar_stays_the_same_byte_for_byte(tmp_path, fmt):
    long = "d/" + "long" * 20 + "/" + "long" * 20 + ".jpg"
    members = [("d", None), *sample("a"), (long, b"x" * 3000), ("README", b"")]
    path = write_tar(tmp_path / "in" / "0.tar", members, fmt)
    drive = run(tmp_path)
    assert (tmp_path / "run/out/0.tar").read_bytes() == path.read_bytes()
    assert drive.stats() == {"samples_in": 2, "samples_out": 2, "samples_dropped": 0}
    (output,) = drive.results["0"].outputs
    assert (output.path, output.num_samples) == ("0.tar", 2)


def reference(path, edits, kept):
    """What a plain reading and writing of the tar would give: name, content, mode, mtime."""
    expected = []
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.partition(".")[0] in kept:
                content = edits.get(member.name, tar.extractfile(member).read())
                expected.append((member.name, content, member.mode, member.mtime))
    return expected


def full(path):
    with tarfile.open(path) as tar:
        return [(m.name, tar.extractfile(m).read(), m.mode, m.mtime) for m in tar]


@pytest.mark.parametrize("kind", ["loose", "tar"])
def test_real_shards_equal_a_plain_tarfile_reference(tmp_path, photo_shards, kind):
    keys = [f"{shard:05d}{index:04d}" for shard in range(3) for index in range(20)]
    kept = set(keys[::2]) | set(keys[:5])
    (tmp_path / "keep.txt").write_text("\n".join(kept))
    edits = photo_shards.edits
    if kind == "tar":
        edits = tmp_path / "edits"
        for folder in sorted(photo_shards.edits.iterdir()):
            files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir(), reverse=True)]
            write_tar(edits / f"{folder.name}.tar", files)
    drive = run(
        tmp_path,
        input=str(photo_shards.shards / "*.tar"),
        edits=str(edits),
        keep=str(tmp_path / "keep.txt"),
    )
    num_edited = 0
    for path in photo_shards.paths:
        files = {p.name: p.read_bytes() for p in (photo_shards.edits / path.stem).iterdir()}
        num_edited += len({name.partition(".")[0] for name in files} & kept)
        assert full(tmp_path / "run" / "out" / path.name) == reference(path, files, kept)
    stats = drive.stats()
    assert (stats["samples_in"], stats["samples_out"], stats["samples_dropped"]) == (
        60,
        len(kept),
        60 - len(kept),
    )
    assert stats["samples_edited"] == num_edited > 0
    assert stats["edits_unmatched"] == 0


def test_webdataset_and_gnu_tar_read_the_result(tmp_path, shard):
    edits = loose(tmp_path, "0", {"b.png": b"png", "b.cls": b"7"})
    run(tmp_path, edits=edits)
    with open(tmp_path / "run/out/0.tar", "rb") as stream:
        files = webdataset.tariterators.tar_file_expander([{"url": "", "stream": stream}])
        read = list(webdataset.tariterators.group_by_keys(files))
    assert [s["__key__"] for s in read] == ["a", "b", "c"]
    assert [e for e in read[1] if e[0] != "_"] == ["png", "txt", "json", "cls"]
    assert (read[1]["png"], read[1]["cls"]) == (b"png", b"7")
    command = ["tar", "-tf", tmp_path / "run/out/0.tar"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert listed.stdout.split()[3:7] == ["b.png", "b.txt", "b.json", "b.cls"]
    assert listed.stderr == ""


def test_edits_take_the_place_of_members_in_order(tmp_path, shard):
    new = {"a.jpg": b"A" * 1000, "b.txt": b"", "c.JSON": b'{"new": 1}', "c.txt": b"C"}
    drive = run(tmp_path, edits=loose(tmp_path, "0", new))
    expected = shard | {"a.jpg": new["a.jpg"], "b.txt": b"", "c.json": new["c.JSON"], "c.txt": b"C"}
    assert list(result(tmp_path).items()) == list(expected.items())
    stats = drive.stats()
    assert (stats["samples_edited"], stats["members_edited"], stats["members_added"]) == (3, 4, 0)


def test_new_headers_carry_no_owner_and_the_time_and_mode_of_the_member_replaced(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.uid, info.uname, info.mode, info.mtime, info.size = 1000, "me", 0o640, 1234567.9, 3
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/0.tar", "w") as tar:
        tar.addfile(info, io.BytesIO(b"old"))
    run(tmp_path, edits=loose(tmp_path, "0", {"a.jpg": b"new", "a.txt": b"added"}))
    with tarfile.open(tmp_path / "run/out/0.tar") as tar:
        seen = [(m.name, m.uid, m.gid, m.uname, m.mode, m.mtime) for m in tar]
    assert seen == [
        ("a.jpg", 0, 0, "", 0o640, 1234567),
        ("a.txt", 0, 0, "", 0o640, 1234567),
    ]


def test_an_image_of_another_type_replaces_the_image(tmp_path):
    members = [("a.webp", b"old"), ("a.mask.png", b"mask"), ("a.txt", b"t")]
    write_tar(tmp_path / "in" / "0.tar", members)
    new = {"a.jpg": b"new", "a.mask.webp": b"new mask", "a.npy": b"added"}
    drive = run(tmp_path, edits=loose(tmp_path, "0", new))
    assert list(result(tmp_path).items()) == [
        ("a.jpg", b"new"),
        ("a.mask.webp", b"new mask"),
        ("a.txt", b"t"),
        ("a.npy", b"added"),
    ]
    assert drive.stats()["members_added"] == 1


@pytest.mark.parametrize(
    ("member", "edit"),
    [
        ("jpg", "jpeg"),
        ("jpeg", "jpg"),
        ("JPG", "JPEG"),
        ("tif", "tiff"),
        ("TIFF", "tif"),
        ("mask.jpg", "mask.jpeg"),
    ],
)
def test_the_same_format_spelled_otherwise_keeps_the_members_name(tmp_path, member, edit):
    members = [(f"a.{member}", b"old"), ("a.png", b"other image"), ("a.txt", b"t")]
    write_tar(tmp_path / "in" / "0.tar", members)
    edits = loose(tmp_path, "0", {f"a.{edit}": b"new"})
    drive = run(tmp_path, edits=edits, require=[member])
    assert result(tmp_path) == dict(members) | {f"a.{member}": b"new"}
    assert drive.stats()["members_edited"] == 1


def test_both_spellings_beside_each_other_are_two_members(tmp_path):
    members = [("a.jpg", b"1"), ("a.jpeg", b"2")]
    write_tar(tmp_path / "in" / "0.tar", members)
    run(tmp_path, edits=loose(tmp_path, "0", {"a.jpeg": b"new"}))
    assert result(tmp_path) == {"a.jpg": b"1", "a.jpeg": b"new"}


@pytest.mark.parametrize(
    ("members", "edits"),
    [
        (["webp", "png"], ["jpg"]),
        (["webp", "txt"], ["jpg", "png"]),
        (["jpg", "txt"], ["jpg", "jpeg"]),
    ],
)
def test_an_image_edit_that_could_mean_two_things_is_refused(tmp_path, members, edits):
    write_tar(tmp_path / "in" / "0.tar", [(f"a.{e}", b"x") for e in members])
    folder = loose(tmp_path, "0", {f"a.{e}": b"new" for e in edits})
    with pytest.raises(BadInputError, match="it is not clear which image"):
        run(tmp_path, edits=folder)


def test_a_json_that_says_the_same_is_no_edit(tmp_path):
    members = [("a.jpg", b"j"), ("a.json", b'{"x": 1, "y": [1.5]}'), ("b.json", b'{"x": 1}')]
    write_tar(tmp_path / "in" / "0.tar", members)
    new = {"a.json": b'{"y": [1.5],\n "x": 1}', "a.jpg": b"new", "b.json": b'{"x": true}'}
    drive = run(tmp_path, edits=loose(tmp_path, "0", new), lone_json="apply")
    assert result(tmp_path) == dict(members) | {"a.jpg": b"new", "b.json": b'{"x": true}'}
    assert drive.stats()["edits_equal"] == 1


def test_a_lone_json_is_left_out_unless_asked_for(tmp_path, shard):
    new = {"a.json": b'{"new": 1}', "b.json": b'{"new": 1}', "b.txt": b"new"}
    edits = loose(tmp_path, "0", new)
    drive = run(tmp_path, edits=edits)
    assert result(tmp_path) == shard | {"b.json": new["b.json"], "b.txt": b"new"}
    stats = drive.stats()
    assert (stats["edits_lone_json"], stats["samples_edited"]) == (1, 1)
    drive = run(tmp_path, edits=edits, lone_json="apply")
    assert result(tmp_path) == shard | new
    assert "edits_lone_json" not in drive.stats()


def test_edits_that_match_nothing_are_counted_and_named(tmp_path, shard, caplog):
    new = {"zz.jpg": b"1", "zz.txt": b"2", "README": b"3", "a.txt": b"new"}
    edits = loose(tmp_path, "0", new)
    os.symlink("/etc/passwd", tmp_path / "edits/0/b.txt")
    with caplog.at_level(logging.WARNING):
        drive = run(tmp_path, edits=edits)
    assert drive.stats()["edits_unmatched"] == 3
    assert "3 edits match no sample" in caplog.text
    assert "zz" in caplog.text
    assert "README" in caplog.text
    assert result(tmp_path) == shard | {"a.txt": b"new"}


def test_edits_of_dropped_samples_are_not_unmatched(tmp_path, shard):
    (tmp_path / "keep.txt").write_text("b\n")
    drive = run(
        tmp_path,
        edits=loose(tmp_path, "0", {"a.txt": b"new"}),
        keep=str(tmp_path / "keep.txt"),
    )
    stats = drive.stats()
    assert (stats["edits_unmatched"], stats["samples_dropped"]) == (0, 2)
    assert list(result(tmp_path)) == ["b.jpg", "b.txt", "b.json"]


def test_keep_by_uid_reads_the_samples_json(tmp_path):
    members = [*sample("a", uid="0" * 31 + "1"), *sample("b", uid="f" * 32), *sample("c")]
    write_tar(tmp_path / "in" / "0.tar", members)
    (tmp_path / "keep.json").write_text(json.dumps(["f" * 32]))
    drive = run(tmp_path, keep=str(tmp_path / "keep.json"), keep_field="uid")
    assert list(result(tmp_path)) == ["b.jpg", "b.txt", "b.json"]
    assert drive.stats()["samples_without_uid"] == 1


def test_a_keep_list_that_is_not_there_is_named_with_its_option(tmp_path, shard):
    with pytest.raises(PlanError, match=r"^stage\.keep: .*/nope does not exist"):
        run(tmp_path, keep=str(tmp_path / "nope"))


def test_a_shard_of_which_nothing_is_kept_is_counted_and_said(tmp_path, shard, caplog):
    write_tar(tmp_path / "in" / "1.tar", sample("other"))
    write_tar(tmp_path / "in" / "2.tar", [])
    (tmp_path / "keep.txt").write_text("a")
    drive = run(tmp_path, keep=str(tmp_path / "keep.txt"))
    assert drive.stats()["shards_emptied"] == 1
    (warning,) = [one for one in caplog.messages if "is kept" in one]
    assert warning.endswith("in/1.tar: none of its 1 samples is kept ('other' is the last of them)")


def test_required_extensions(tmp_path):
    members = [*sample("a"), ("b.jpg", b"x"), ("c.txt", b"x"), ("d.webp", b"x"), ("d.txt", b"")]
    write_tar(tmp_path / "in" / "0.tar", members)
    edits = loose(tmp_path, "0", {"b.txt": b"added", "d.jpg": b"jpg"})
    drive = run(tmp_path, edits=edits, require=["jpg", ".TXT"])
    assert list(result(tmp_path)) == [
        *("a.jpg", "a.txt", "a.json"),
        *("b.jpg", "b.txt"),
        *("d.jpg", "d.txt"),
    ]
    assert drive.stats()["samples_dropped"] == 1


def test_when_all_is_dropped_an_empty_tar_is_left_that_can_be_read_again(tmp_path, shard):
    (tmp_path / "keep.txt").write_text("nothing\n")
    run(tmp_path, keep=str(tmp_path / "keep.txt"))
    assert read_tar(tmp_path / "run/out/0.tar") == []
    again = Drive(
        reshard(tmp_path, input=str(tmp_path / "run/out/0.tar")), tmp_path / "again"
    ).run()
    assert again.stats()["samples_out"] == 0


REPEATED = [*sample("a"), *sample("b"), ("a.jpg", b"again"), ("a.cls", b"1"), *sample("c")]


def test_duplicates_are_refused_kept_once_or_renamed(tmp_path):
    write_tar(tmp_path / "in" / "0.tar", REPEATED)
    with pytest.raises(BadInputError, match="the key 'a' comes again"):
        run(tmp_path)
    drive = run(tmp_path, duplicates="first")
    assert read_tar(tmp_path / "run/out/0.tar") == [*sample("a"), *sample("b"), *sample("c")]
    stats = drive.stats()
    assert (stats["samples_in"], stats["samples_out"], stats["samples_dropped"]) == (4, 3, 1)
    run(tmp_path, duplicates="rename", edits=loose(tmp_path, "0", {"a-2.cls": b"2"}))
    assert read_tar(tmp_path / "run/out/0.tar") == [
        *sample("a"),
        *sample("b"),
        *[("a-2.jpg", b"again"), ("a-2.cls", b"2")],
        *sample("c"),
    ]


def test_entries_that_are_no_samples_stay_also_beside_dropped_ones(tmp_path):
    members = [("d", None), *sample("a"), ("d2", None), ("README", b"x"), *sample("b")]
    write_tar(tmp_path / "in" / "0.tar", members)
    (tmp_path / "keep.txt").write_text("b\n")
    run(tmp_path, keep=str(tmp_path / "keep.txt"))
    with tarfile.open(tmp_path / "run/out/0.tar") as tar:
        assert tar.getnames() == ["d", "d2", "README", "b.jpg", "b.txt", "b.json"]


def test_keys_with_dots_and_folders(tmp_path):
    members = [("v1.0/a.b.jpg", b"1"), ("v1.0/a.b.txt", b"2"), ("v1.0/c.jpg", b"3")]
    write_tar(tmp_path / "in" / "0.tar", members)
    run(tmp_path, edits=loose(tmp_path, "0", {"v1.0/a.b.txt": b"new"}))
    assert result(tmp_path) == dict(members) | {"v1.0/a.b.txt": b"new"}


@pytest.mark.parametrize("dots", [("./", ""), ("", "./"), ("./", "./")])
def test_a_dot_slash_in_front_of_names_does_not_matter(tmp_path, dots):
    write_tar(tmp_path / "in/0.tar", [(f"{dots[0]}a.jpg", b"1"), (f"{dots[0]}a.txt", b"2")])
    write_tar(tmp_path / "edits/0.tar", [(f"{dots[1]}a.txt", b"new")])
    run(tmp_path, edits=str(tmp_path / "edits"))
    assert result(tmp_path) == {f"{dots[0]}a.jpg": b"1", f"{dots[0]}a.txt": b"new"}
    (tmp_path / "edits/0.tar").unlink()
    run(tmp_path, edits=loose(tmp_path, "0", {"a.txt": b"loose"}))
    assert result(tmp_path)[f"{dots[0]}a.txt"] == b"loose"


def test_shards_in_folders_keep_their_names(tmp_path):
    for name in ("x/0", "y/0"):
        write_tar(tmp_path / "in" / f"{name}.tar", sample("a"))
    edits = loose(tmp_path, "y/0", {"a.txt": b"new"})
    drive = run(tmp_path, input=str(tmp_path / "in/**/*.tar"), edits=edits)
    assert [shard.id for shard in drive.shards] == ["x/0", "y/0"]
    assert [tuple(drive.stage.planned_outputs(s)) for s in drive.shards] == [
        ("x/0.tar",),
        ("y/0.tar",),
    ]
    assert result(tmp_path, "x/0")["a.txt"] == b"caption of a"
    assert result(tmp_path, "y/0")["a.txt"] == b"new"


def test_gzip_tars_give_plain_ones(tmp_path, shard):
    raw = (tmp_path / "in/0.tar").read_bytes()
    (tmp_path / "in/0.tar").unlink()
    (tmp_path / "in/0.tar.gz").write_bytes(gzip.compress(raw))
    run(tmp_path)
    assert (tmp_path / "run/out/0.tar").read_bytes() == raw


def test_remote_tars_and_edits(tmp_path, shard):
    import fsspec

    fs = fsspec.filesystem("memory")
    raw = (tmp_path / "in/0.tar").read_bytes()
    write_tar(tmp_path / "1.tar", [("a.txt", b"new 1")])
    fs.pipe("/overlay/in/0.tar", raw)
    fs.pipe("/overlay/in/1.tar", raw)
    fs.pipe("/overlay/edits/0/a.txt", b"new 0")
    fs.pipe("/overlay/edits/1.tar", (tmp_path / "1.tar").read_bytes())
    try:
        drive = run(tmp_path, input="memory://overlay/in/*.tar", edits="memory://overlay/edits")
    finally:
        fs.rm("/overlay", recursive=True)
    assert drive.stats()["members_edited"] == 2
    assert result(tmp_path, "0") == shard | {"a.txt": b"new 0"}
    assert result(tmp_path, "1") == shard | {"a.txt": b"new 1"}


def test_a_remote_tar_is_fetched_once(tmp_path, monkeypatch):
    import fsspec

    from hpcpipe.formats.remote_source import RemoteSource

    monkeypatch.setattr("hpcpipe.formats.remote_source.BLOCK_BYTES", 64 << 10)
    monkeypatch.setattr("hpcpipe.formats.remote_source.READ_AHEAD_BYTES", 64 << 10)
    monkeypatch.setattr("hpcpipe.stages._overlay.BATCH_BYTES", 100 << 10)
    monkeypatch.setattr("hpcpipe.stages._overlay_write.MAX_RUN_BYTES", 100 << 10)
    members = [item for i in range(60) for item in sample(f"{i:03d}", size=30_000)]
    write_tar(tmp_path / "0.tar", members)
    raw = (tmp_path / "0.tar").read_bytes()
    fs = fsspec.filesystem("memory")
    fs.pipe("/once/0.tar", raw)
    num_bytes = []
    fetch = RemoteSource._fetch
    monkeypatch.setattr(
        RemoteSource, "_fetch", lambda self, at, n: num_bytes.append(n) or fetch(self, at, n)
    )
    try:
        run(tmp_path, input="memory://once/0.tar")
    finally:
        fs.rm("/once", recursive=True)
    assert (tmp_path / "run/out/0.tar").read_bytes() == raw
    assert sum(num_bytes) < 1.1 * len(raw)


def test_the_same_bytes_in_small_and_large_batches(tmp_path, monkeypatch):
    members = [item for i in range(100) for item in sample(f"{i:03d}", size=i * 50)]
    write_tar(tmp_path / "in" / "0.tar", members)
    (tmp_path / "keep.txt").write_text("\n".join(f"{i:03d}" for i in range(0, 100, 3)))
    edits = loose(tmp_path, "0", {f"{i:03d}.jpg": b"e" * i * 40 for i in range(0, 100, 4)})
    outputs = []
    for num_samples, num_bytes in [(512, 16 << 20), (1, 1), (7, 20_000)]:
        monkeypatch.setattr("hpcpipe.stages._overlay.BATCH_SAMPLES", num_samples)
        monkeypatch.setattr("hpcpipe.stages._overlay.BATCH_BYTES", num_bytes)
        monkeypatch.setattr("hpcpipe.stages._overlay_write.MAX_RUN_BYTES", num_bytes)
        run(tmp_path, edits=edits, keep=str(tmp_path / "keep.txt"))
        outputs.append((tmp_path / "run/out/0.tar").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_bad_tar_leaves_nothing_behind(tmp_path, shard):
    path = tmp_path / "in" / "1.tar"
    path.write_bytes((tmp_path / "in/0.tar").read_bytes()[:5000])
    drive = Drive(reshard(tmp_path), tmp_path / "run")
    good, bad = drive.plan()
    drive.process(good)
    with pytest.raises(BadInputError, match=rf"{path} is truncated: it has 5000 bytes, but member"):
        drive.process(bad)
    assert [p.name for p in (tmp_path / "run/out").iterdir()] == ["0.tar"]


def test_a_worker_told_to_stop_gives_the_shard_back(tmp_path, shard, monkeypatch):
    monkeypatch.setattr("hpcpipe.runtime.context.ShardContext.should_stop", True)
    with pytest.raises(ShardStopped):
        run(tmp_path)
    assert list((tmp_path / "run/out").iterdir()) == []


def test_edits_that_cannot_be_read_name_the_file(tmp_path, shard):
    edits = loose(tmp_path, "0", {"a.jpg": b"1"})
    drive = Drive(reshard(tmp_path, edits=edits), tmp_path / "run")
    (planned,) = drive.plan()
    (tmp_path / "edits/0/a.jpg").unlink()
    (tmp_path / "edits/0").rmdir()
    with pytest.raises(BadInputError, match=r"edits/0 cannot be read: No such file or directory"):
        drive.process(planned)
    (tmp_path / "edits/0").write_bytes(b"a file now")
    with pytest.raises(BadInputError, match=r"edits/0 cannot be read: Not a directory"):
        drive.process(planned)


def test_a_damaged_tar_of_edits_is_named(tmp_path, shard):
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits/0.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(BadInputError, match=r"edits/0\.tar is not a tar file"):
        run(tmp_path, edits=str(tmp_path / "edits"))


def test_two_edits_for_one_member_are_refused(tmp_path, shard):
    edits = loose(tmp_path, "0", {"a.jpg": b"1", "a.JPG": b"2"})
    with pytest.raises(BadInputError, match=r"two edits for 'a\.(jpg|JPG)'"):
        run(tmp_path, edits=edits)


def test_the_plan_holds_the_tar_and_its_edits(tmp_path, shard):
    write_tar(tmp_path / "in/1.tar", sample("a"))
    edits = loose(tmp_path, "0", {"a.jpg": b"1"})
    first, second = Drive(reshard(tmp_path, edits=edits), tmp_path / "run").plan()
    assert [item.path for item in first.inputs] == [str(tmp_path / "in/0.tar"), f"{edits}/0"]
    assert first.inputs[1].version == str((tmp_path / "edits/0").stat().st_mtime_ns)
    assert len(second.inputs) == 1
    assert first.num_bytes == first.inputs[0].size_bytes


def test_edits_for_no_shard_at_all_are_refused(tmp_path, shard):
    edits = loose(tmp_path, "00000", {"a.jpg": b"1"})
    with pytest.raises(PlanError) as caught:
        run(tmp_path, edits=edits)
    assert "has no edits for any of the 1 shards: expected 0.tar, a folder 0/ or" in str(
        caught.value
    )
    assert "found 00000" in str(caught.value)
    with pytest.raises(PlanError, match=r"stage\.edits: .*/none does not exist"):
        run(tmp_path, edits=str(tmp_path / "none"))


def test_two_kinds_of_edits_for_one_shard_are_refused(tmp_path, shard):
    edits = loose(tmp_path, "0", {"a.jpg": b"1"})
    captions = tmp_path / "edits/0.json"
    captions.write_text('{"a.json": "new"}')
    with pytest.raises(PlanError, match=r"stage\.edits has both .*/0\.json and .*/edits/0/, "):
        run(tmp_path, edits=edits)
    captions.unlink()
    write_tar(tmp_path / "edits/0.tar", [("a.jpg", b"2")])
    with pytest.raises(PlanError, match=r"stage\.edits has both .*/0\.tar and .*/edits/0/, "):
        run(tmp_path, edits=edits)


def test_a_link_to_edits_that_are_gone_is_told(tmp_path):
    for shard in ("x/0", "y/0"):
        write_tar(tmp_path / f"in/{shard}.tar", sample("k"))
    write_tar(tmp_path / "edits/x/0.tar", [("k.txt", b"new")])
    (tmp_path / "edits/y").mkdir()
    (tmp_path / "edits/y/0.tar").symlink_to("gone.tar")
    with pytest.raises(PlanError, match=r"stage\.edits: .*/edits/y/0\.tar cannot be read: No such"):
        run(tmp_path, input=f"{tmp_path}/in/**/*.tar", edits=f"{tmp_path}/edits")


@pytest.mark.parametrize("name", ["a/b/c.jpg", "a/c.jpg", "a/x/c.jpg"])
def test_loose_edits_that_may_be_of_two_shards_are_refused(tmp_path, name):
    """``a/b/c.jpg`` is an edit of the sample ``b/c`` of ``a``, or of ``c`` of ``a/b``."""
    for shard, key in (("a", "b/c"), ("a/b", "c"), ("a/x/y", "c")):
        write_tar(tmp_path / f"in/{shard}.tar", sample(key))
    path = tmp_path / "edits" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whose?")
    with pytest.raises(PlanError, match=r"may be an edit of the shard 'a', or of one in .* a/: "):
        run(tmp_path, input=f"{tmp_path}/in/**/*.tar", edits=f"{tmp_path}/edits")


def test_a_shard_above_another_takes_its_edits_from_a_tar(tmp_path):
    for shard, key in (("a", "b/c"), ("a/b", "c")):
        write_tar(tmp_path / f"in/{shard}.tar", sample(key))
        write_tar(tmp_path / f"edits/{shard}.tar", [(f"{key}.txt", shard.encode())])
        (tmp_path / f"edits/{shard}.meta.jsonl").write_text("{}")
    run(tmp_path, input=f"{tmp_path}/in/**/*.tar", edits=f"{tmp_path}/edits")
    assert result(tmp_path, "a")["b/c.txt"] == b"a"
    assert result(tmp_path, "a/b")["c.txt"] == b"a/b"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input": None}, "stage.input is required"),
        ({"shard_samples": 10}, "stage.shard_samples repacks samples, which needs an index"),
        ({"shuffle": True}, "stage.shuffle repacks samples"),
        ({"keys": "prefix"}, "stage.keys repacks samples"),
        ({"keep_field": "uid"}, "give stage.keep too"),
        ({"lone_json": "apply"}, "give stage.edits too"),
        ({"edits": "/data/out", "output": "/data/out/"}, "give another stage.output"),
        ({"require": ["a/b"]}, "stage.require: 'a/b' is no extension"),
        ({"index": "/i"}, "leave stage.input out"),
        ({"index": "/i", "input": None, "edits": "/e"}, "do not go with stage.index"),
        ({"index": "/i", "input": None}, "give stage.shard_samples=N or stage.shard_bytes=SIZE"),
        (
            {"index": "/i", "input": None, "shard_samples": 1, "shard_bytes": 1},
            "give stage.shard_samples=N or stage.shard_bytes=SIZE, one of them",
        ),
        ({"index": "/i", "input": None, "shard_samples": 0}, "stage.shard_samples: 0 is too small"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options, says):
    with pytest.raises(ConfigError) as caught:
        reshard(tmp_path, **options)
    assert says in str(caught.value)


def test_only_an_overlay_can_be_extended(tmp_path):
    assert reshard(tmp_path).extendable
    assert not reshard(tmp_path, input=None, index="/i", shard_samples=1).extendable
