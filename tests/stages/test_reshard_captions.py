"""New captions put into tars, from the files that rewrite_captions writes."""

import json
import tarfile

import fsspec
import pytest
import webdataset

import hpcpipe
from hpcpipe.errors import BadInputError, PlanError
from hpcpipe.formats.captions import encode_captions
from hpcpipe.stages._rewrite_rows import MADE, Row, encode_rows
from tests.stages.tars import read_tar, sample, write_tar
from tests.stages.test_reshard_overlay import result, run

RECORD = {"uid": "u", "caption": "a man\nin a hat", "width": 384, "score": 0.30000000000000004}
CHOICES = {"style": "a child"}


def with_json(key, record, text="a man\nin a hat"):
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    return [(f"{key}.jpg", b"image"), (f"{key}.json", content), (f"{key}.txt", text.encode())]


def captions(folder, shard, found, notes=None):
    path = folder / "edits" / f"{shard}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_captions(found))
    if notes is not None:
        path.with_name(f"{path.stem}.meta.jsonl").write_bytes(encode_rows(notes))
    return str(folder / "edits")


def by_webdataset(path):
    with open(path, "rb") as stream:
        files = webdataset.tariterators.tar_file_expander([{"url": "", "stream": stream}])
        return list(webdataset.tariterators.group_by_keys(files))


def headers(path):
    """Every member with its header, as bytes of the tar."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    content = path.read_bytes()
    ends = [member.offset for member in members[1:]] + [len(content)]
    pairs = zip(members, ends, strict=True)
    return {member.name: content[member.offset : end] for member, end in pairs}


def test_samples_get_their_new_caption_and_all_else_stays(tmp_path):
    old = [*with_json("k0", RECORD), *with_json("k1", RECORD), *with_json("d/k2", RECORD)]
    path = write_tar(tmp_path / "in/a/0.tar", old)
    write_tar(tmp_path / "in/b/0.tar", with_json("k0", RECORD))
    notes = [
        Row(key="k0", status=MADE, model="llm", choices=CHOICES, seed=7, caption="x", server="s")
    ]
    captions(tmp_path, "a/0", {"k0": "a nurse \u2014 smiling"}, notes)
    edits = captions(tmp_path, "b/0", {"k0": "two nurses"})
    drive = run(tmp_path, input=f"{tmp_path}/in/**/*.tar", edits=edits)
    new = tmp_path / "run/out/a/0.tar"
    before, after = headers(path), headers(new)
    assert list(before) == list(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"d/k2.txt"} == {"k0.txt", "k0.json"}  # the last has the archive's end
    first, second, _ = by_webdataset(new)
    assert first["txt"].decode() == "a nurse \u2014 smiling"
    assert list(json.loads(first["json"]).items()) == [
        ("uid", "u"),
        ("caption", "a nurse \u2014 smiling"),
        ("width", 384),
        ("score", 0.30000000000000004),
        ("original_caption", "a man\nin a hat"),
        ("rewritten", {"model": "llm", "choices": CHOICES, "seed": 7}),
    ]
    assert second["txt"] == b"a man\nin a hat"
    (other,) = by_webdataset(tmp_path / "run/out/b/0.tar")
    assert "rewritten" not in json.loads(other["json"])
    stats = drive.stats()
    counted = ("samples_in", "samples_edited", "members_edited", "edits_unmatched")
    assert [stats[name] for name in counted] == [4, 2, 4, 0]


def test_what_says_the_same_or_nothing_is_no_edit(tmp_path):
    """As in shards of the demo: line breaks of a caption are spaces in files of captions."""
    only_json = with_json("k1", RECORD)[:2]
    no_field = with_json("k2", {"uid": "u"})
    members = [*with_json("k0", RECORD), *only_json, *no_field, *with_json("k3", RECORD)]
    path = write_tar(tmp_path / "in/0.tar", members)
    found = dict.fromkeys(("k0", "k1", "k2"), "a man in a hat") | {"k3": " "}
    drive = run(tmp_path, edits=captions(tmp_path, "0", found))
    assert (tmp_path / "run/out/0.tar").read_bytes() == path.read_bytes()
    stats = drive.stats()
    assert (stats["edits_equal"], stats["edits_empty"], stats["samples_out"]) == (3, 1, 4)
    assert "samples_edited" not in stats


def test_samples_that_lack_a_txt_or_a_good_json_get_what_can_be_made(tmp_path):
    deep = b'{"a": ' * 100_000 + b"1" + b"}" * 100_000
    members = [
        *with_json("no_txt", RECORD)[:2],
        ("no_json.jpg", b"image"),
        *with_json("bad", b"{"),
        *with_json("list", []),
        *with_json("deep", deep),
        *with_json("nan", b'{"caption": "a", "similarity": NaN, "original_caption": "first"}'),
        *with_json("no_field", {"uid": "u"}),
    ]
    path = write_tar(tmp_path / "in/0.tar", members)
    keys = ["no_txt", "no_json", "bad", "list", "deep", "nan", "no_field"]
    drive = run(tmp_path, edits=captions(tmp_path, "0", dict.fromkeys(keys, "new")))
    before, after = dict(read_tar(path)), result(tmp_path)
    assert list(after)[:5] == [
        "no_txt.jpg",
        "no_txt.json",
        "no_txt.txt",
        "no_json.jpg",
        "no_json.txt",
    ]
    assert {after[f"{key}.txt"] for key in keys} == {b"new"}
    for key in ("bad", "list", "deep"):
        assert after[f"{key}.json"] == before[f"{key}.json"]
    assert drive.stats()["edits_malformed_json"] == 3
    nan = json.loads(after["nan.json"], parse_constant=pytest.fail)
    assert nan == {"caption": "new", "similarity": None, "original_caption": "first"}
    assert json.loads(after["no_field.json"])["original_caption"] == "a man\nin a hat"


def test_captions_of_no_sample_and_of_no_shard_are_told(tmp_path, capsys):
    write_tar(tmp_path / "in/0.tar", sample("k0"))
    captions(tmp_path, "0", {"k0": "new", "lost": "x", "../../gone": "y"})
    edits = captions(tmp_path, "77", {"k0": "new"})
    made = hpcpipe.run(
        "reshard",
        input=f"{tmp_path}/in",
        output=f"{tmp_path}/out",
        edits=edits,
        overrides=[f"run_dir={tmp_path}/run"],
    )
    assert made.exit_code == 0
    assert "1 entry belongs to no shard" in capsys.readouterr().out
    assert (tmp_path / "run/artifacts/edits_of_no_shard.txt").read_text() == "77.json\n"
    assert (tmp_path / "out/edits_unmatched/0.txt").read_text() == "lost\n../../gone\n"
    assert dict(read_tar(tmp_path / "out/0.tar"))["k0.txt"] == b"new"


def test_captions_and_tars_may_be_remote(tmp_path):
    fs = fsspec.filesystem("memory")
    path = write_tar(tmp_path / "0.tar", with_json("k0", RECORD))
    captions(tmp_path, "0", {"k0": "new"}, [Row(key="k0", status=MADE, model="llm")])
    try:
        fs.pipe("/captions/in/a/0.tar", path.read_bytes())
        for file in (tmp_path / "edits").iterdir():
            fs.pipe(f"/captions/edits/a/{file.name}", file.read_bytes())
        options = {"input": "memory://captions/in/**/*.tar", "edits": "memory://captions/edits"}
        run(tmp_path, **options)
    finally:
        fs.rm("/captions", recursive=True)
    record = json.loads(result(tmp_path, "a/0")["k0.json"])
    assert (record["caption"], record["rewritten"]["model"]) == ("new", "llm")


def test_other_json_beside_tars_of_edits_is_not_spoken_of(tmp_path):
    write_tar(tmp_path / "in/0.tar", sample("k0"))
    write_tar(tmp_path / "edits/0.tar", [("k0.txt", b"new")])
    (tmp_path / "edits/0_stats.json").write_text("{}")
    run(tmp_path, edits=f"{tmp_path}/edits")
    assert result(tmp_path)["k0.txt"] == b"new"
    assert not (tmp_path / "run/artifacts/edits_of_no_shard.txt").exists()


def test_keys_are_the_same_with_and_without_a_dot_in_front(tmp_path):
    write_tar(tmp_path / "in/0.tar", [*sample("./k0"), *sample("k1")])
    run(tmp_path, edits=captions(tmp_path, "0", {"k0": "new", "./k1": "half \ud800"}))
    assert (result(tmp_path)["./k0.txt"], result(tmp_path)["k1.txt"]) == (b"new", b"half ?")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("0.json", b"[]", "expected an object of captions"),
        ("0.meta.jsonl", b'{"key": ["k0"]}\n', "line 1 is no note of a prompt"),
    ],
)
def test_damaged_files_of_captions_fail_their_shard(tmp_path, name, content, says):
    write_tar(tmp_path / "in/0.tar", sample("k0"))
    edits = captions(tmp_path, "0", {"k0": "new"})
    (tmp_path / "edits" / name).write_bytes(content)
    with pytest.raises(BadInputError, match=says):
        run(tmp_path, edits=edits)


def test_captions_that_a_run_made_and_are_gone_are_missed(tmp_path):
    for name in "01":
        record = RECORD | {"face_bboxes": [[0.1, 0.1, 0.5, 0.5]]}
        write_tar(tmp_path / f"in/{name}.tar", with_json("k", record))
    made = {"overrides": [f"run_dir={tmp_path}/faces"], "output": f"{tmp_path}/edits"}
    hpcpipe.run("filter_faces", input=f"{tmp_path}/in", detector="metadata", **made)
    (tmp_path / "edits/captions/1.json").unlink()
    with pytest.raises(PlanError, match=r"captions/1\.json is recorded .* --requeue"):
        run(tmp_path, edits=f"{tmp_path}/edits/captions")


def test_an_original_caption_that_is_null_is_none(tmp_path):
    write_tar(tmp_path / "in/0.tar", with_json("k0", {**RECORD, "original_caption": None}))
    run(tmp_path, input=f"{tmp_path}/in", edits=captions(tmp_path, "0", {"k0": "a nurse"}))
    (new,) = by_webdataset(tmp_path / "run/out/0.tar")
    assert json.loads(new["json"])["original_caption"] == RECORD["caption"]
