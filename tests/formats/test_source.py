import gzip
import os

import pytest

from hpcpipe.errors import BadInputError, TransientShardError
from hpcpipe.formats import remote_source, source
from hpcpipe.formats.source import open_source

DATA = os.urandom(100_000)


@pytest.fixture
def paths(tmp_path):
    import fsspec

    (tmp_path / "a.tar").write_bytes(DATA)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(DATA, 1))
    fs = fsspec.filesystem("memory")
    fs.pipe("/src/a.tar", DATA)
    fs.pipe("/src/a.tgz", gzip.compress(DATA, 1))
    yield {
        "local": str(tmp_path / "a.tar"),
        "gzip": str(tmp_path / "a.tar.gz"),
        "url": "memory://src/a.tar",
        "url gzip": "memory://src/a.tgz",
    }
    fs.rm("/src", recursive=True)


@pytest.mark.parametrize("kind", ["local", "gzip", "url", "url gzip"])
def test_any_range_can_be_read(paths, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_source, "READ_AHEAD_BYTES", 7000)
    monkeypatch.setattr(remote_source, "JUMP_BYTES", 500)
    with open_source(paths[kind], tmp_path) as opened:
        assert opened.size_bytes == len(DATA)
        assert (opened.fd is None) == (kind == "url")
        forward = b"".join(opened.read_at(at, 512) for at in range(0, len(DATA), 512))
        assert forward == DATA
        for at, num_bytes in [(50_000, 10), (3, 30_000), (99_990, 100), (100_000, 1), (0, 1)]:
            assert opened.read_at(at, num_bytes) == DATA[at : at + num_bytes]
        assert opened.read_ranges([(5, 5), (0, 3)]) == [DATA[5:10], DATA[:3]]
        with pytest.raises(BadInputError, match="ends inside the 10 bytes at 99995"):
            opened.read_ranges([(99_995, 10)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar", "a.tar.gz"] or kind != "gzip"


def test_forward_reading_of_a_url_fetches_each_block_once(paths, monkeypatch):
    monkeypatch.setattr(remote_source, "READ_AHEAD_BYTES", 10_000)
    with remote_source.RemoteSource(paths["url"]) as opened:
        fetched = []
        fetch = opened._fetch
        monkeypatch.setattr(opened, "_fetch", lambda at, n: fetched.append((at, n)) or fetch(at, n))
        for at in range(0, len(DATA), 1000):
            opened.read_at(at, 1000)
        assert fetched == [(at, 10_000) for at in range(0, len(DATA), 10_000)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be opened: Too many levels"),
    ],
)
def test_what_is_no_file_is_named(tmp_path, make, says):
    make(tmp_path / "a.tar")
    with pytest.raises(BadInputError, match=f"a.tar {says}"):
        open_source(str(tmp_path / "a.tar"))


def test_permission_denied_says_how_to_mend_it(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BadInputError, match="chmod u\\+r"):
        open_source(str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no gzip at all", "is not a sound gzip file"),
        (gzip.compress(DATA)[:-5000], "is truncated"),
        (gzip.compress(DATA)[:500] + b"\0" * 900, "gzip"),
    ],
)
def test_broken_gzip_is_refused(tmp_path, content, says):
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(BadInputError, match=f"a.tgz .*{says}"):
        open_source(str(tmp_path / "a.tgz"), tmp_path)


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FREE_GZIP_BYTES", 1 << 20)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(5 << 20)))
    with pytest.raises(BadInputError, match="decompression bomb"):
        open_source(str(tmp_path / "a.tgz"), tmp_path)


def test_full_scratch_is_the_machines_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MIN_FREE_SCRATCH_BYTES", 1 << 60)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(DATA))
    with pytest.raises(OSError, match="no room left to decompress into"):
        open_source(str(tmp_path / "a.tgz"), tmp_path)


class StoreError(Exception):
    """An exception of a store's own client."""


@pytest.mark.parametrize("kind", [OSError, StoreError])
def test_failing_store_is_transient_and_tells_no_secret(paths, monkeypatch, kind):
    def fail(*args, **kwargs):
        raise kind("500 from 'https://me:pw@host/a.tar?sig=secret&x=1' (bad)")

    with open_source(paths["url"]) as opened:
        monkeypatch.setattr(opened._fs, "cat_file", fail)
        with pytest.raises(TransientShardError) as error:
            opened.read_at(0, 1)
    reason = f"{kind.__name__}: 500 from 'https://host/a.tar' (bad)"
    assert str(error.value) == f"{paths['url']} could not be read: {reason}"


def test_missing_object_is_bad_input():
    with pytest.raises(BadInputError, match=r"memory://src/none.tar does not exist"):
        open_source("memory://src/none.tar")
