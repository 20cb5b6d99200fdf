import io
import json
import os
import resource
import tarfile
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from hpcpipe.errors import ConfigError, is_environment_error
from hpcpipe.formats import download_table
from hpcpipe.formats.download_shard import DownloadShard
from hpcpipe.formats.source import open_source
from hpcpipe.formats.tar import scan
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import Partials
from tests.formats.shards import LISTED, Folder, failure, shard_format, success, write_shard
from tests.formats.tfrecord_reader import read_examples

FORMATS = ["webdataset", "files", "parquet", "tfrecord", "dummy"]
CAPTIONS = [
    None,
    "",
    "a 👩‍👩‍👧‍👦 at the 🏖️",
    "שלום עולם \u202eabc\u202c",
    "two\nlines\r\nand\ttab\0 and nul",
    "long " * 20_000,
]
captions = st.none() | st.text(max_size=30)


def read_tar(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def read_web(path):
    with path.open("rb") as stream:
        return list(group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])))


def rows(root):
    return pq.ParquetFile(root / "00012.parquet").read(use_threads=False).to_pylist()


def stats(root):
    return json.loads((root / "00012_stats.json").read_text())


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_url_has_its_row_beside_every_format(tmp_path, output_format):
    samples = [(success(0), b"x"), (failure(1), None), (success(2), b"y")]
    shard, _ = write_shard(tmp_path, samples, output_format=output_format)
    assert [row["key"] for row in rows(tmp_path)] == ["000120000", "000120001", "000120002"]
    assert [row["http_status"] for row in rows(tmp_path)] == [200, 404, 200]
    assert [row["error_class"] for row in rows(tmp_path)] == [None, "http_404", None]
    assert (stats(tmp_path)["count"], stats(tmp_path)["successes"]) == (3, 2)
    assert (shard.stats.count, shard.stats.successes) == (3, 2)


@pytest.mark.parametrize(
    ("output_format", "names"),
    [
        ("webdataset", {"00012.tar"}),
        ("files", {"00012/000120000.jpg", "00012/000120000.json", "00012/000120000.txt"}),
        ("parquet", set()),
        ("tfrecord", {"00012.tfrecord"}),
        ("dummy", set()),
    ],
)
def test_the_files_of_each_format(tmp_path, output_format, names):
    write_shard(tmp_path, [(success(0), b"x")], output_format=output_format)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == names | {"00012.parquet", "00012_stats.json"}


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_shard_without_a_success_is_whole(tmp_path, output_format):
    write_shard(tmp_path, [(failure(0), None)], output_format=output_format)
    assert len(rows(tmp_path)) == 1
    assert stats(tmp_path)["successes"] == 0
    if output_format == "webdataset":
        assert read_web(tmp_path / "00012.tar") == []
    elif output_format == "tfrecord":
        assert list(read_examples(tmp_path / "00012.tfrecord")) == []


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_shard_without_a_row_is_whole(tmp_path, output_format):
    write_shard(tmp_path, [], output_format=output_format)
    assert rows(tmp_path) == []
    assert stats(tmp_path)["status_dict"] == {}


@pytest.mark.parametrize(("output_format", "file"), [("webdataset", "tar"), ("parquet", "parquet")])
def test_one_output_says_how_many_samples_there_are(tmp_path, output_format, file):
    samples = [(success(0), b"x"), (failure(1), None)]
    _, files = write_shard(tmp_path, samples, output_format=output_format)
    said = {name: output.num_samples for name, output in files.items()}
    assert said.pop(f"00012.{file}") == 1
    assert set(said.values()) == {None}


@pytest.mark.parametrize("output_format", FORMATS[:-1])
def test_the_same_samples_give_the_same_bytes(tmp_path, output_format):
    samples = [(success(0, "ü"), b"x" * 700), (failure(1), None), (success(2, None), b"")]
    contents = []
    for name in ("a", "b"):
        write_shard(tmp_path / name, samples, output_format=output_format)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({f.name: f.read_bytes() for f in files if "stats" not in f.name})
    assert contents[0] == contents[1]


def test_a_tar_reads_back_by_webdataset_tarfile_and_our_own_reader(tmp_path):
    write_shard(tmp_path, [(success(0, "ü"), b"abc"), (success(1, None), b"")])
    path = tmp_path / "00012.tar"
    members = read_tar(path)
    assert list(members)[:3] == ["000120000.jpg", "000120000.txt", "000120000.json"]
    assert (members["000120000.jpg"], members["000120001.jpg"]) == (b"abc", b"")
    assert [sample["__key__"] for sample in read_web(path)] == ["000120000", "000120001"]
    assert [sample["jpg"] for sample in read_web(path)] == [b"abc", b""]
    with open_source(str(path)) as source:
        assert [member.name for member in scan(source)] == list(members)
    with tarfile.open(path) as tar:
        assert {(m.mtime, m.mode, m.uid, m.gid, m.uname) for m in tar} == {(0, 0o444, 0, 0, "")}
    assert path.stat().st_size % 10240 == 0


@settings(deadline=None, max_examples=20)
@given(st.lists(captions, max_size=8))
@example(CAPTIONS)
def test_any_caption_comes_back_from_a_tar(tmp_path_factory, values):
    root = tmp_path_factory.mktemp("captions")
    write_shard(root, [(success(i, caption), b"x") for i, caption in enumerate(values)])
    samples = read_web(root / "00012.tar")
    assert [sample["txt"].decode() for sample in samples] == [value or "" for value in values]
    assert [json.loads(sample["json"])["caption"] for sample in samples] == values
    assert [row["caption"] for row in rows(root)] == values


@pytest.mark.parametrize("output_format", ["files", "tfrecord", "parquet"])
def test_captions_come_back_from_other_formats(tmp_path, output_format):
    samples = [(success(i, caption), b"x") for i, caption in enumerate(CAPTIONS)]
    write_shard(tmp_path, samples, output_format=output_format)
    texts = [(caption or "").encode() for caption in CAPTIONS]
    if output_format == "files":
        assert [path.read_bytes() for path in sorted(tmp_path.glob("00012/*.txt"))] == texts
    elif output_format == "tfrecord":
        examples = list(read_examples(tmp_path / "00012.tfrecord"))
        assert [features["txt"] for features in examples] == [("bytes_list", [t]) for t in texts]
    assert [row["caption"] for row in rows(tmp_path)] == CAPTIONS


def test_a_list_without_captions_gives_no_txt(tmp_path):
    columns = pa.schema([("url", pa.string())])
    row = success(0, listed={"url": "http://h/0"})
    write_shard(tmp_path, [(row, b"x")], columns)
    assert list(read_tar(tmp_path / "00012.tar")) == ["000120000.jpg", "000120000.json"]


def test_examples_have_a_feature_a_column(tmp_path):
    write_shard(tmp_path, [(success(0), b"abc"), (failure(1), None)], output_format="tfrecord")
    (features,) = read_examples(tmp_path / "00012.tfrecord")
    assert features["jpg"] == ("bytes_list", [b"abc"])
    assert features["key"] == ("bytes_list", [b"000120000"])
    assert features["width"] == ("int64_list", [256])
    assert features["seconds"] == ("float_list", [0.25])
    assert features["uid"] == ("bytes_list", [b"u0"])
    assert features["error_message"] == ("bytes_list", [b""])
    assert set(features) == {*pq.read_schema(tmp_path / "00012.parquet").names, "jpg", "txt"}


def test_parquet_has_the_bytes_beside_the_rows(tmp_path):
    content = b"\xff\xd8" * 1000
    write_shard(tmp_path, [(success(0), content), (failure(1), None)], output_format="parquet")
    assert [row["jpg"] for row in rows(tmp_path)] == [content, None]


def test_row_groups_bound_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(download_table, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(download_table, "GROUP_ROWS", 30)
    small = [(success(i), b"x") for i in range(70)]
    large = [(success(70 + i), bytes(4000)) for i in range(6)]
    write_shard(tmp_path, small + large, output_format="parquet")
    file = pq.ParquetFile(tmp_path / "00012.parquet")
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert max(groups) <= 30
    assert sum(groups) == 76
    assert len(rows(tmp_path)) == 76
    contents = file.read(["jpg"]).column(0).to_pylist()
    assert contents == [b"x"] * 70 + [bytes(4000)] * 6


def test_files_are_closed_as_soon_as_they_are_written(tmp_path):
    folder = Folder(tmp_path)
    with DownloadShard(folder, "00012", LISTED, shard_format("files")) as shard:
        for index in range(3):
            shard.add(success(index), b"x")
            samples = [file for name, file in folder.files.items() if name.startswith("00012/")]
            assert len(samples) == 3 * (index + 1)
            assert {file.fd for file in samples} == {-1}
    folder.close()


def test_a_shard_may_have_more_files_than_a_process_may_open(tmp_path):
    (tmp_path / "out").mkdir()
    folder = OutputFolder(str(tmp_path / "out"), "xxh3_128")
    partials = Partials(tmp_path / "partial", "0", 1)
    ctx = ShardContext("00012", 1, folder, tmp_path, tmp_path, partials, lambda: False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, hard))
    try:
        with DownloadShard(ctx.output, "00012", LISTED, shard_format("files")) as shard:
            for index in range(30):
                shard.add(success(index), b"x")
        outputs = ctx.commit(lambda: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        ctx.discard()
    assert len(outputs) == 3 * 30 + 2
    written = {str(path.relative_to(folder.root)) for path in Path(folder.root).rglob("*.*")}
    assert written == {output.path for output in outputs}


def test_each_sample_may_have_its_own_extension(tmp_path):
    extensions = ["flac", "tar.gz", "json", "txt", None]
    samples = [(success(i, extension=ext), b"x") for i, ext in enumerate(extensions)]
    write_shard(tmp_path, samples, extension=None, images=False, exif=False)
    read = read_web(tmp_path / "00012.tar")
    content = ["flac", "tar.gz", "content.json", "content.txt", "bin"]
    assert [sample[name] for sample, name in zip(read, content, strict=True)] == [b"x"] * 5
    assert all(json.loads(sample["json"])["key"] == sample["__key__"] for sample in read)
    assert [row["extension"] for row in rows(tmp_path)] == extensions


def test_a_text_file_is_txt_where_the_list_has_no_captions(tmp_path):
    columns = pa.schema([("url", pa.string())])
    row = success(0, listed={"url": "http://h/0"}, extension="txt")
    write_shard(tmp_path, [(row, b"words")], columns, extension=None)
    assert read_tar(tmp_path / "00012.tar")["000120000.txt"] == b"words"


@pytest.mark.parametrize("output_format", ["parquet", "tfrecord"])
def test_bytes_of_many_kinds_are_the_column_content(tmp_path, output_format):
    samples = [(success(0, extension="flac"), b"f"), (success(1, extension="mp3"), b"m")]
    write_shard(tmp_path, samples, output_format=output_format, extension=None)
    if output_format == "parquet":
        assert [row["content"] for row in rows(tmp_path)] == [b"f", b"m"]
        return
    examples = list(read_examples(tmp_path / "00012.tfrecord"))
    assert [features["content"][1] for features in examples] == [[b"f"], [b"m"]]
    assert [features["extension"][1] for features in examples] == [[b"flac"], [b"mp3"]]


def test_columns_of_a_list_keep_their_types(tmp_path):
    types = {
        "boxes": pa.list_(pa.list_(pa.float32())),
        "score": pa.float64(),
        "day": pa.date32(),
        "at": pa.timestamp("us", "UTC"),
        "tags": pa.list_(pa.string()),
        "raw": pa.binary(),
        "price": pa.decimal128(8, 2),
        "info": pa.struct([("a", pa.int8())]),
        "url": pa.string(),
    }
    columns = pa.schema(types.items())
    values = {
        "boxes": [[0.0, 0.5], [1.0]],
        "score": float("nan"),
        "day": 19_000,
        "at": 1_700_000_000_000_000,
        "tags": ["a", None],
        "raw": b"\xff",
        "price": None,
        "info": {"a": 1},
        "url": "http://h/0",
    }
    listed = pa.Table.from_pylist([values], columns)
    row = success(0, listed=listed.to_pylist()[0])
    for output_format in ("webdataset", "tfrecord"):
        root = tmp_path / output_format
        write_shard(root, [(row, b"x")], columns, output_format=output_format)
        table = pq.read_table(root / "00012.parquet")
        assert table.select(columns.names).schema.equals(columns)
        assert str(table.select(columns.names).to_pylist()) == str(listed.to_pylist())
    read = json.loads(read_tar(tmp_path / "webdataset/00012.tar")["000120000.json"])
    assert read["boxes"] == [[0.0, 0.5], [1.0]]
    assert (read["score"], read["raw"], read["day"]) == (None, "/w==", "2022-01-08")
    (features,) = read_examples(tmp_path / "tfrecord/00012.tfrecord")
    assert features["day"] == ("bytes_list", [b"2022-01-08"])
    assert features["tags"] == ("bytes_list", [b"a", b""])


@pytest.mark.parametrize(
    ("column", "options"),
    [
        ("status", {}),
        ("width", {}),
        ("error_class", {}),
        ("extension", {"extension": None}),
        ("jpg", {"output_format": "parquet"}),
        ("txt", {"output_format": "tfrecord"}),
        ("url", {}),
    ],
)
def test_a_column_of_a_name_that_is_ours_is_refused(tmp_path, column, options):
    columns = LISTED.append(pa.field(column, pa.string()))
    with pytest.raises(ConfigError, match=f"'{column}'.*rename them in the list"):
        write_shard(tmp_path, [], columns, **options)


def test_names_that_are_not_written_are_free(tmp_path):
    columns = LISTED.append(pa.field("width", pa.string()))
    write_shard(tmp_path, [], columns, images=False, exif=False)
    write_shard(tmp_path / "b", [], LISTED.append(pa.field("jpg", pa.string())))


def test_a_listed_checksum_gives_way_to_the_computed_one(tmp_path):
    columns = LISTED.append(pa.field("sha256", pa.string()))
    row = success(0, digest="ab")
    write_shard(tmp_path, [(row, b"x")], columns)
    assert [one["sha256"] for one in rows(tmp_path)] == ["ab"]


def test_the_final_url_stands_where_it_differs(tmp_path):
    elsewhere = success(0, final_url="http://other/0.jpg")
    same = success(1, final_url="http://h/1.jpg")
    write_shard(tmp_path, [(elsewhere, b"x"), (same, b"x")])
    assert [row["final_url"] for row in rows(tmp_path)] == ["http://other/0.jpg", None]


def test_words_of_errors_that_are_no_unicode_are_no_trouble(tmp_path):
    write_shard(tmp_path, [(failure(0, error_message="bad \udcff byte"), None)])
    assert rows(tmp_path)[0]["error_message"] == "bad ? byte"
    assert stats(tmp_path)["status_dict"] == {"bad ? byte": 1}


def test_columns_of_a_list_in_any_order_come_in_img2datasets(tmp_path):
    columns = pa.schema([LISTED.field(name) for name in ("url", "caption", "uid")])
    write_shard(tmp_path, [(success(0), b"x")], columns)
    assert pq.read_schema(tmp_path / "00012.parquet").names[:3] == ["uid", "caption", "url"]
    assert rows(tmp_path)[0]["url"] == "http://h/0.jpg"


def test_a_class_of_an_enumeration_is_its_text(tmp_path):
    class Failure(StrEnum):
        NOT_FOUND = "http_404"

    nothing = {"error_message": "", "http_status": 0, "final_url": ""}
    write_shard(tmp_path, [(failure(0, error_class=Failure.NOT_FOUND, **nothing), None)])
    (row,) = rows(tmp_path)
    assert row["error_class"] == "http_404"
    assert [row[name] for name in nothing] == [None] * 3
    assert stats(tmp_path)["error_classes"] == {"http_404": 1}


def test_a_null_url_is_a_row(tmp_path):
    row = failure(0, listed={"uid": None, "caption": None, "url": None}, http_status=None)
    write_shard(tmp_path, [(row, None)])
    assert rows(tmp_path)[0]["url"] is None


def test_an_error_leaves_the_shard_unfinished(tmp_path):
    def samples():
        yield success(0), b"x"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_shard(tmp_path, samples())
    assert not (tmp_path / "00012_stats.json").exists()


def test_a_full_disk_is_told_as_it_is(tmp_path):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        download_table.DownloadTable(Full(), LISTED, None).__exit__(None)
    assert is_environment_error(caught.value)
