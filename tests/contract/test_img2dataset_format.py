"""What readers of img2dataset's and any2dataset's results rely on, and therefore of ours.

Source: the columns that img2dataset's ``Downloader.download_shard`` appends to a list's, its five
writers, its ``write_stats``, and the resharder of DataComp.
"""

import json
import math
import tarfile

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from hpcpipe.formats.shard_names import ShardNames
from tests.formats.shards import LISTED, failure, success, write_shard
from tests.formats.tfrecord_reader import read_examples

IMG2DATASET = [
    *LISTED,
    pa.field("key", pa.string()),
    pa.field("status", pa.string()),
    pa.field("error_message", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("original_width", pa.int32()),
    pa.field("original_height", pa.int32()),
    pa.field("exif", pa.string()),
    pa.field("sha256", pa.string()),
]
ANY2DATASET = [*IMG2DATASET[:6], pa.field("md5", pa.string())]
STATS = ["count", "successes", "failed_to_download", "failed_to_resize", "duration"]
STATS += ["start_time", "end_time", "status_dict"]
SAMPLES = [(success(0), b"x"), (failure(1), None), (success(2), b"y")]


def test_the_table_begins_with_the_columns_of_img2dataset(tmp_path):
    write_shard(tmp_path, SAMPLES)
    schema = pq.read_schema(tmp_path / "00012.parquet")
    assert list(schema)[: len(IMG2DATASET)] == IMG2DATASET
    assert not {*schema.names[len(IMG2DATASET) :]} & {field.name for field in IMG2DATASET}


def test_the_table_begins_with_the_columns_of_any2dataset(tmp_path):
    write_shard(tmp_path, [], images=False, exif=False, digest="md5", extension=None)
    schema = pq.read_schema(tmp_path / "00012.parquet")
    assert list(schema)[: len(ANY2DATASET)] == ANY2DATASET


def test_a_failed_row_has_nulls_where_theirs_has(tmp_path):
    write_shard(tmp_path, SAMPLES)
    row = pq.read_table(tmp_path / "00012.parquet").to_pylist()[1]
    assert (row["url"], row["caption"], row["key"]) == ("http://h/1.jpg", "a caption", "000120001")
    assert (row["status"], row["error_message"]) == ("failed_to_download", "HTTP 404")
    nulls = ["width", "height", "original_width", "original_height", "exif", "sha256"]
    assert [row[name] for name in nulls] == [None] * 6


def test_a_sample_is_image_caption_and_row(tmp_path):
    write_shard(tmp_path, SAMPLES)
    with tarfile.open(tmp_path / "00012.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert sorted(members) == [
        f"{key}.{extension}"
        for key in ("000120000", "000120002")
        for extension in ("jpg", "json", "txt")
    ]
    row = json.loads(members["000120000.json"])
    assert {field.name for field in IMG2DATASET} <= set(row)
    assert (row["status"], row["error_message"], row["width"]) == ("success", None, 256)
    assert json.loads(row["exif"]) == {"Image Make": "Leica"}


def test_a_sample_without_a_caption_has_an_empty_txt_as_theirs_has(tmp_path):
    write_shard(tmp_path, [(success(0, None), b"x")])
    with tarfile.open(tmp_path / "00012.tar") as tar:
        assert tar.extractfile("000120000.txt").read() == b""


def test_statistics_have_the_same_names(tmp_path):
    failed = failure(3, status="failed_to_resize", error_message="image too small")
    write_shard(tmp_path, [*SAMPLES, (failed, None)])
    stats = json.loads((tmp_path / "00012_stats.json").read_text())
    assert list(stats)[: len(STATS)] == STATS
    counts = {name: stats[name] for name in STATS[:4]}
    assert counts == {
        "count": 4,
        "successes": 2,
        "failed_to_download": 1,
        "failed_to_resize": 1,
    }
    assert stats["status_dict"] == {"success": 2, "HTTP 404": 1, "image too small": 1}
    assert stats["duration"] == stats["end_time"] - stats["start_time"] >= 0
    assert stats["error_classes"] == {"http_404": 2}
    assert stats["num_bytes"] == 1000 + 1002


def test_statistics_of_files_say_subsample(tmp_path):
    write_shard(tmp_path, SAMPLES, images=False, exif=False)
    stats = json.loads((tmp_path / "00012_stats.json").read_text())
    assert stats["failed_to_subsample"] == 0
    assert "failed_to_resize" not in stats


def test_the_resharder_of_datacomp_finds_what_it_looks_for(tmp_path):
    # It knows a shard by {:08d} or a pattern given to it, asks the statistics for successes, and
    # each sample's json, strictly parsed, for its uid.
    assert ShardNames(samples_per_shard=10_000, shard_digits=8).shard(12) == "00000012"
    columns = LISTED.append(pa.field("similarity", pa.float32()))
    listed = {"uid": "ab" * 16, "caption": None, "url": "http://h/0", "similarity": math.nan}
    write_shard(tmp_path, [(success(0, listed=listed), b"x")], columns)
    assert json.loads((tmp_path / "00012_stats.json").read_text())["successes"] == 1
    with tarfile.open(tmp_path / "00012.tar") as tar:
        row = tar.extractfile("000120000.json").read()
    assert int(msgspec.json.decode(row)["uid"], 16) > 0
    assert msgspec.json.decode(row)["similarity"] is None


def test_tfrecords_have_the_features_of_img2dataset(tmp_path):
    write_shard(tmp_path, SAMPLES, output_format="tfrecord")
    for features in read_examples(tmp_path / "00012.tfrecord"):
        assert {"key", "jpg", "txt", *(field.name for field in IMG2DATASET)} <= set(features)
        assert features["width"][0] == "int64_list"
        assert features["url"][0] == "bytes_list"


def test_parquet_has_the_image_behind_the_columns_of_the_table(tmp_path):
    write_shard(tmp_path, SAMPLES, output_format="parquet")
    schema = pq.read_schema(tmp_path / "00012.parquet")
    assert list(schema)[: len(IMG2DATASET)] == IMG2DATASET
    assert schema.field("jpg").type == pa.binary()
    assert schema.names[-1] == "jpg"
