"""Download from a list in a bucket to a bucket, on a real object store, from Python."""

import json
import tarfile
from collections import Counter

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpcpipe import run
from tests.data.make_shards import read_shard
from tests.servers.raw_http import raw_server, reply


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A server of ten photos, by path."""
    from tests.data.make_shards import make_shards

    (tar,) = make_shards(tmp_path_factory.mktemp("tars"), num_shards=1, num_samples=10)
    files = {f"/{key}.jpg": sample["jpg"] for key, sample in read_shard(tar).items()}
    with raw_server() as server:
        server.answers.update({path: reply("200 OK", data) for path, data in files.items()})
        yield server, files


@pytest.mark.parametrize(
    ("output_format", "ending"),
    [
        ("webdataset", "parquet"),
        ("files", "csv.gz"),
        ("parquet", "parquet"),
        ("tfrecord", "csv.gz"),
    ],
)
def test_lists_and_shards_may_lie_in_buckets(
    photos, seaweedfs_bucket, tmp_path, monkeypatch, output_format, ending
):
    server, files = photos
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    fs, _ = fsspec.url_to_fs(seaweedfs_bucket)
    urls = [f"{server.url}{path}" for path in (*files, "/gone.jpg")]
    listed = f"{seaweedfs_bucket}/lists/urls.{ending}"
    if ending == "parquet":
        with fs.open(listed, "wb") as file:
            pq.write_table(pa.table({"link": urls}), file)
    else:
        with fsspec.open(listed, "wt", compression="gzip") as file:
            file.write("\n".join(["link", *urls, ""]))
    done = run(
        "download",
        input=listed,
        output=f"{seaweedfs_bucket}/out",
        url_col="link",
        kind="file",
        output_format=output_format,
        shard_samples=6,
        fetch={"allow_private_hosts": True, "contact": "https://example.org/bot"},
        run_dir=tmp_path / "run",
    )
    assert done.exit_code == 0
    fs.invalidate_cache()
    tables = sorted(fs.glob(f"{seaweedfs_bucket}/out/*.parquet"))
    rows = [row for path in tables for row in pq.read_table(fs.open(path)).to_pylist()]
    assert Counter(row["url"] for row in rows) == Counter(urls)
    assert Counter(row["status"] for row in rows) == {"success": 10, "failed_to_download": 1}
    stats = [json.loads(fs.cat(path)) for path in fs.glob(f"{seaweedfs_bucket}/out/*_stats.json")]
    assert sum(one["successes"] for one in stats) == 10
    if output_format == "parquet":
        found = [row["content"] for row in rows if row["content"]]
    elif output_format == "files":
        found = [fs.cat(path) for path in fs.glob(f"{seaweedfs_bucket}/out/0000?/*.jpg")]
    elif output_format == "webdataset":
        found = [
            data for path in fs.glob(f"{seaweedfs_bucket}/out/*.tar") for data in _jpgs(fs, path)
        ]
    else:
        packed = b"".join(map(fs.cat, fs.glob(f"{seaweedfs_bucket}/out/*.tfrecord")))
        found = [data for data in files.values() if data in packed]
    assert sorted(found) == sorted(files.values())


def _jpgs(fs, path):
    with fs.open(path) as file, tarfile.open(fileobj=file) as tar:
        return [tar.extractfile(one).read() for one in tar if one.name.endswith(".jpg")]


@pytest.mark.parametrize("ending", ["parquet", "txt"])
def test_what_failed_is_tried_again_where_lists_and_shards_lie_in_buckets(
    seaweedfs_bucket, tmp_path, monkeypatch, ending
):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    fs, _ = fsspec.url_to_fs(seaweedfs_bucket)
    listed, out = f"{seaweedfs_bucket}/again/urls.{ending}", f"{seaweedfs_bucket}/again/out"
    options = {"input": listed, "output": out, "kind": "file", "shard_samples": 2}
    fetch = {"allow_private_hosts": True, "obey_robots_txt": False, "max_tries": 1}
    with raw_server() as server:
        urls = [f"{server.url}/{n}" for n in range(5)]
        with fs.open(listed, "wb") as file:
            if ending == "parquet":
                pq.write_table(pa.table({"url": urls}), file)
            else:
                file.write("\n".join(urls).encode())
        server.answers.update({f"/{n}": reply("503 Service Unavailable") for n in range(1, 5)})
        assert run("download", fetch=fetch, **options).exit_code == 0
        server.answers.update({f"/{n}": reply(body=b"here") for n in range(1, 5)})
        assert run("download", fetch=fetch, retry_failed=True, **options).exit_code == 0
    fs.invalidate_cache()
    tables = [pq.read_table(fs.open(path)) for path in sorted(fs.glob(f"{out}/*.parquet"))]
    assert [sorted(table["url"].to_pylist()) for table in tables[3:]] == [urls[1:3], urls[3:]]
    assert {status for table in tables[3:] for status in table["status"].to_pylist()} == {"success"}
