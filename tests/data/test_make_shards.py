"""The photo shards that other tests and the demo are made of."""

import io
import json

from PIL import Image

from tests.data.make_shards import PHOTOS, make_shards, read_shard


def test_same_arguments_same_bytes(tmp_path):
    one = make_shards(tmp_path / "one", num_shards=1, num_samples=5)
    two = make_shards(tmp_path / "two", num_shards=1, num_samples=5)
    assert one[0].read_bytes() == two[0].read_bytes()


def test_samples_are_distinct_photos_with_true_metadata(photo_shards):
    samples = [sample for path in photo_shards.paths for sample in read_shard(path).values()]
    assert len({sample["jpg"] for sample in samples}) == len(samples) == 60
    metas = [json.loads(sample["json"]) for sample in samples]
    for sample, meta in zip(samples, metas, strict=True):
        assert Image.open(io.BytesIO(sample["jpg"])).size == (meta["width"], meta["height"])
        assert sample["txt"].decode() == meta["caption"]
    assert any(meta["face_bboxes"] for meta in metas)


def test_three_samples_in_ten_have_edits(photo_shards):
    for path in photo_shards.paths:
        edited = {file.stem for file in (photo_shards.edits / path.stem).iterdir()}
        assert len(edited) == 6
        assert edited < set(read_shard(path))


def test_every_photo_is_in_the_notice():
    notice = (PHOTOS / "NOTICE").read_text()
    listing = json.loads((PHOTOS / "photos.json").read_text())
    assert {facts["file"] for facts in listing} == {path.name for path in PHOTOS.glob("*.jpg")}
    assert all(facts["file"] in notice for facts in listing)
