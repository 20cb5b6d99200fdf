"""What stages show of their finished shards on contact sheets."""

import gzip
import json
import shutil
from pathlib import Path
from random import Random

import pytest

from hpcpipe.compose.api import compose_run
from hpcpipe.errors import BadInputError
from hpcpipe.runtime.contact_sheet import LookContext
from hpcpipe.stage import Box, Picture, Shard
from hpcpipe.stages._rewrite_rows import FAILED, MADE, Row, encode_rows
from tests.stages import rewriting
from tests.stages.drive import Drive
from tests.stages.tars import write_tar
from tests.stages.test_filter_faces import BOX, drive, sample

ASTRONAUT = (Path(__file__).parents[1] / "data/photos/astronaut.jpg").read_bytes()


def looks(run, shard, num_samples, seed=0):
    ctx = LookContext(run.folder, Random(seed), run.scratch)
    return list(run.stage.look(shard, ctx, num_samples))


@pytest.fixture
def tar(tmp_path):
    members = [
        member
        for number in range(9)
        for member in sample(f"k{number}", {"face_bboxes": [BOX] * (number % 3)}, image=ASTRONAUT)
    ]
    small = {"face_bboxes": [[0.5, 0.5, 0.6, 0.6]] * 2}
    members += [*sample("small", small, image=ASTRONAUT), *sample("bad", b"{", image=ASTRONAUT)]
    return write_tar(tmp_path / "in/0.tar", members)


@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_samples_are_shown_with_their_faces_and_why_they_were_left_out(tmp_path, tar, kind):
    if kind == "gzip":
        with tar.open("rb") as plain, gzip.open(f"{tar}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        tar.unlink()
    run = drive(tmp_path / "in", tmp_path, min_face_area=0.01).run()
    found = looks(run, run.shards[0], 4)
    assert ["left out" in one.pictures[0].title for one in found] == [False] * 3 + [True]
    assert found == looks(run, run.shards[0], 4)
    everything = looks(run, run.shards[0], 99)
    assert [one.key[1] for one in everything[:6]] == list("124578")
    for one in everything[:6]:
        (picture,) = one.pictures
        num_faces = int(one.key[1:]) % 3
        assert (picture.title, picture.content) == ("original", ASTRONAUT)
        assert picture.boxes == (Box(tuple(BOX)),) * num_faces
        assert one.texts == (("caption", f"caption of {one.key}"),)
        assert one.facts == {"faces": num_faces}
    others = {one.key: one.pictures[0] for one in everything[6:]}
    assert sorted(others) == ["k0", "k3", "k6", "small"]
    assert others["k0"] == Picture("left out: no face", ASTRONAUT, "it has no image")
    assert (others["small"].title, others["small"].content) == ("left out: small faces", ASTRONAUT)
    assert others["small"].boxes == (Box((0.5, 0.5, 0.6, 0.6)),) * 2


def test_sheets_of_few_samples_a_shard_have_some_that_were_left_out(tmp_path, tar):
    run = drive(tmp_path / "in", tmp_path).run()
    found = [one for seed in range(40) for one in looks(run, run.shards[0], 3, seed)]
    others = [one for one in found if "left out" in one.pictures[0].title]
    assert len(found) == 120
    assert 20 <= len(others) <= 40


def test_originals_that_are_gone_are_missed_with_their_name(tmp_path, tar):
    run = drive(tmp_path / "in", tmp_path).run()
    tar.unlink()
    (one,) = looks(run, run.shards[0], 1)
    assert one.pictures[0].content is None
    assert f"{tar} does not exist" in one.pictures[0].missing


def test_captions_are_shown_beside_prompts_and_some_that_were_left_out(tmp_path):
    run = rewriting.Drive(rewriting.stage(tmp_path, ["http://127.0.0.1:9"]), tmp_path)
    drawn = {"ethnicity": "asian", "gender": "female"}
    rows = [
        Row(key=f"m{n}", status=MADE, caption="a man", prompt="a woman", choices=drawn, model="llm")
        for n in range(20)
    ]
    rows += [
        Row(key=f"f{n}", status=FAILED, reason="many_lines", caption="a man", answer="a\nb")
        for n in range(20)
    ]
    Path(run.out, "0.meta.jsonl").write_bytes(encode_rows(rows))
    found = {one.key: one for one in looks(run, Shard("0"), 8)}
    assert sorted(key[0] for key in found) == ["f"] * 2 + ["m"] * 6
    made = next(one for key, one in found.items() if key[0] == "m")
    assert made.texts == (("caption", "a man"), ("prompt", "a woman"))
    assert (made.facts["group"], made.facts["LLM"]) == ("asian female", "llm")
    failed = next(one for key, one in found.items() if key[0] == "f")
    assert failed.texts[1:] == (("failed to rewrite", "many_lines"), ("answer", "a\nb"))
    assert len(looks(run, Shard("0"), 99)) == 40


def test_lists_of_captions_that_are_none_are_refused(tmp_path):
    run = rewriting.Drive(rewriting.stage(tmp_path, ["http://127.0.0.1:9"]), tmp_path)
    for content in (b"nonsense", json.dumps({"key": 1, "status": "made"}).encode()):
        Path(run.out, "0.meta.jsonl").write_bytes(content)
        with pytest.raises(BadInputError, match="is no list of captions"):
            looks(run, Shard("0"), 1)


@pytest.mark.parametrize("edits_format", ["tar", "files"])
def test_new_images_are_shown_beside_the_originals(tmp_path, tar, edits_format):
    faces = drive(tmp_path / "in", tmp_path / "faces").run()
    run = generated(tmp_path, faces, edits_format)
    found = {one.key: one for one in looks(run, run.shards[0], 99)}
    assert sorted(found) == ["k1", "k2"]
    one = found["k2"]
    before, after = one.pictures
    assert (before.content, before.boxes) == (ASTRONAUT, (Box(tuple(BOX)),) * 2)
    assert (after.title, after.content) == ("generated", b"new k2")
    assert one.texts == (("caption", "caption of k2"), ("prompt", "prompt of k2"))
    assert one.facts == {"group": "asian female", "LLM": "llm", "model": "tiny", "seed": 5}
    tar.unlink()
    (one,) = looks(run, run.shards[0], 1)
    assert "does not exist" in one.pictures[0].missing
    assert one.pictures[1].content == f"new {one.key}".encode()
    Path(faces.out, "selected/0.jsonl").unlink()
    (one,) = looks(run, run.shards[0], 1)
    assert one.pictures[0].missing == "where it lies is not known"


def test_edits_that_lack_what_was_written_are_told(tmp_path, tar):
    run = generated(tmp_path, drive(tmp_path / "in", tmp_path / "faces").run(), "tar")
    write_tar(Path(run.out, "0.tar"), [("k1.txt", b"p"), ("k2.txt", b"p"), ("k2.json", b"{}")])
    with pytest.raises(BadInputError, match=r"0\.tar has no k\d\.jpg, which was written"):
        looks(run, run.shards[0], 99)


def generated(folder, faces, edits_format):
    """A finished run of generate_images, its files written by hand."""
    (folder / "prompts").mkdir()
    (folder / "prompts/0.json").write_text('{"k1.json": "a", "k2.json": "b", "k4.json": "c"}')
    stage = compose_run(
        "generate_images",
        input=f"{folder}/prompts",
        selected=f"{faces.out}/selected",
        edits_format=edits_format,
        model="tiny",
    ).stage
    run = Drive(stage, folder / "run")
    run.plan()
    members = []
    for key in ("k1", "k2"):
        provenance = {
            "model": "tiny",
            "seed": 5,
            "original": {"caption": f"caption of {key}"},
            "rewritten": {"model": "llm", "choices": {"ethnicity": "asian", "gender": "female"}},
        }
        record = json.dumps({"caption": f"prompt of {key}", "generated": provenance}).encode()
        members += [
            (f"{key}.jpg", f"new {key}".encode()),
            (f"{key}.txt", f"prompt of {key}".encode()),
            (f"{key}.json", record),
        ]
    if edits_format == "tar":
        write_tar(Path(run.out, "0.tar"), members)
    for name, content in members if edits_format == "files" else ():
        Path(run.out, "0").mkdir(exist_ok=True)
        Path(run.out, "0", name).write_bytes(content)
    notes = [{"key": key, "status": "made"} for key in ("k1", "k2")]
    notes.append({"key": "k4", "status": "left_out", "reason": "unsafe"})
    lines = "".join(f"{json.dumps(note)}\n" for note in notes)
    Path(run.out, "0.meta.jsonl").write_text(lines)
    return run
