"""What stages show of their finished shards on contact sheets."""

import gzip
import json
import shutil
from pathlib import Path
from random import Random

import pytest

from hpcpipe.errors import BadInputError
from hpcpipe.runtime.contact_sheet import LookContext
from hpcpipe.stage import Box, Shard
from hpcpipe.stages._rewrite_rows import FAILED, MADE, Row, encode_rows
from tests.stages import rewriting
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
    return write_tar(tmp_path / "in/0.tar", members)


@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_selected_samples_are_shown_with_their_faces(tmp_path, tar, kind):
    if kind == "gzip":
        with tar.open("rb") as plain, gzip.open(f"{tar}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        tar.unlink()
    run = drive(tmp_path / "in", tmp_path).run()
    found = looks(run, run.shards[0], 4)
    assert len(found) == 4
    assert found == looks(run, run.shards[0], 4)
    assert [one.key[1] for one in looks(run, run.shards[0], 99)] == list("124578")
        "k1",
        "k2",
        "k4",
        "k5",
        "k7",
        "k8",
    }
    for one in found:
        (picture,) = one.pictures
        num_faces = int(one.key[1:]) % 3
        assert (picture.title, picture.content) == ("original", ASTRONAUT)
        assert picture.boxes == (Box(tuple(BOX)),) * num_faces
        assert one.texts == (("caption", f"caption of {one.key}"),)
        assert one.facts == {"faces": num_faces}


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
