"""The S3 fixture: what the tests of remote inputs and outputs rely on."""

import fsspec
import pytest

from hpcpipe.formats.remote_source import read_many


@pytest.fixture(params=["s3_bucket", "seaweedfs_bucket"])
def bucket(request):
    return request.getfixturevalue(request.param)


def test_put_get_range_and_list(bucket):
    fs, _ = fsspec.url_to_fs(bucket)
    fs.pipe_file(f"{bucket}/a/one.bin", b"0123456789")
    assert fs.cat_file(f"{bucket}/a/one.bin", start=2, end=5) == b"234"
    assert [path.rsplit("/", 1)[1] for path in fs.ls(f"{bucket}/a")] == ["one.bin"]


def test_multipart_upload(bucket):
    data = bytes(range(256)) * (6 << 12)
    fs, _ = fsspec.url_to_fs(bucket)
    with fs.open(f"{bucket}/large.bin", "wb", block_size=5 << 20) as stream:
        stream.write(data)
    with fs.open(f"{bucket}/large.bin", "rb") as stream:
        assert stream.read() == data


def test_buckets_are_empty_and_separate(bucket):
    fs, _ = fsspec.url_to_fs(bucket)
    assert fs.ls(bucket) == []


def test_empty_ranges_between_others(bucket):
    fs, _ = fsspec.url_to_fs(bucket)
    path = f"{bucket}/a/one.tar"
    fs.pipe_file(path, b"0123456789")
    ranges = [(path, 2, 0), (path, 0, 3), (path, 10, 0), (path, 0, 0), (path, 9, 1)]
    assert read_many(ranges) == [b"", b"012", b"", b"", b"9"]
    assert read_many(ranges[:1]) == [b""]
