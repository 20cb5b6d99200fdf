"""What the stages say they read is what the kernel, or the store, says; and how many samples."""

import os
import tarfile

import pytest

from hpcpipe.stages.index import Index
from hpcpipe.stages.reshard import Reshard
from tests.stages.drive import RESHARD, Drive
from tests.stages.tars import sample, write_tar

SLACK_BYTES = 2000
"""Reading the counter itself, and what else the process looks up."""


def bytes_read():
    """Bytes that read calls of this process returned."""
    with open("/proc/self/io") as file:
        return int(file.readline().removeprefix("rchar:"))


def check_against_kernel(drive):
    """Run a stage; whatever its shards say they read, the kernel must have seen."""
    for shard in drive.plan():
        drive.process(shard)  # imports and opens what stays open
        before = bytes_read()
        drive.process(shard)
        seen = bytes_read() - before
        said = drive.bytes_in[shard.id]
        assert said > 0
        assert said <= seen <= said + SLACK_BYTES
    return sum(drive.bytes_in.values())


@pytest.fixture
def tars(tmp_path):
    for number in range(2):
        members = [m for n in range(40) for m in sample(f"k{number}{n:02d}", size=30_000)]
        write_tar(tmp_path / "in" / f"{number}.tar", members)
    return tmp_path / "in"


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def reshard(tmp_path, **options):
    return Drive(Reshard(**RESHARD | options), tmp_path / "run")


def test_copying_reads_contents_once_and_headers_twice(tars, tmp_path):
    drive = reshard(tmp_path, input=str(tars))
    num_read = check_against_kernel(drive)
    assert size_of(tars) < num_read < 1.5 * size_of(tars)
    assert drive.num_samples == {"0": 40, "1": 40}


def test_what_is_dropped_is_not_read(tars, tmp_path):
    (tmp_path / "keep.txt").write_text("k000\nk100\n")
    drive = reshard(tmp_path, input=str(tars), keep=str(tmp_path / "keep.txt"))
    num_read = check_against_kernel(drive)
    assert num_read < 0.5 * size_of(tars)
    assert drive.num_samples == {"0": 40, "1": 40}


@pytest.mark.parametrize("kind", ["loose", "tar"])
def test_edits_are_read_too(tars, tmp_path, kind):
    files = {f"k0{n:02d}.jpg": b"e" * 50_000 for n in range(0, 40, 4)}
    files |= {"k001.json": b'{"key": "k001", "is": "new"}', "k002.json": b'{"key": "k002"}'}
    if kind == "tar":
        write_tar(tmp_path / "edits" / "0.tar", files.items())
    else:
        for name, content in files.items():
            (tmp_path / "edits" / "0").mkdir(parents=True, exist_ok=True)
            (tmp_path / "edits" / "0" / name).write_bytes(content)
    drive = reshard(tmp_path, input=str(tars), edits=str(tmp_path / "edits"))
    check_against_kernel(drive)
    assert drive.bytes_in["0"] > sum(map(len, files.values()))


def test_a_compressed_tar_counts_as_it_lies_on_the_disk(tmp_path):
    members = [m for n in range(20) for m in sample(f"k{n:02d}", size=30_000)]
    path = write_tar(tmp_path / "in" / "0.tar.gz", members, tarfile.GNU_FORMAT, "w:gz")
    index = Drive(
        Index(input=str(path), output=None, uid=False, duplicates="error"), tmp_path / "i"
    )
    drive = reshard(tmp_path, input=str(path))
    for one in (index, drive):
        one.run()
        assert one.bytes_in == {"0": path.stat().st_size}
    drive = reshard(tmp_path, index=index.out, shard_samples=10).run()
    assert drive.bytes_in == {"00000": path.stat().st_size, "00001": 0}  # it stays open


def test_an_index_reads_little_and_repacking_what_it_takes(tars, tmp_path):
    index = Drive(
        Index(input=str(tars), output=None, uid=False, duplicates="error"), tmp_path / "index"
    )
    assert check_against_kernel(index) < 0.5 * size_of(tars)
    assert index.num_samples == {"0": 40, "1": 40}
    index.finalize()
    for options in ({"shuffle": True}, {"keys": "renumber"}):
        drive = reshard(tmp_path, index=index.out, shard_samples=30, **options)
        num_read = check_against_kernel(drive)
        assert abs(num_read - size_of(tars)) <= 2 * tarfile.RECORDSIZE  # the archives end in zeros
        assert drive.num_samples == {"00000": 30, "00001": 30, "00002": 20}


def test_samples_too_large_for_memory_are_counted(tars, tmp_path, monkeypatch):
    index = Drive(
        Index(input=str(tars), output=None, uid=False, duplicates="error"), tmp_path / "index"
    )
    index.run()
    monkeypatch.setattr("hpcpipe.stages._repack_read.WINDOW_BYTES", 1000)
    drive = reshard(tmp_path, index=index.out, shard_samples=80)
    assert check_against_kernel(drive) >= size_of(tars) - 2 * tarfile.RECORDSIZE


def test_remote_tars_and_edits_count_what_was_fetched(tars, tmp_path, monkeypatch):
    import fsspec

    from hpcpipe.formats.remote_source import RemoteSource

    fetched = []
    fetch = RemoteSource._fetch

    def counted(self, at, num_bytes):
        data = fetch(self, at, num_bytes)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(RemoteSource, "_fetch", counted)
    fs = fsspec.filesystem("memory")
    fs.pipe("/src/in/0.tar", (tars / "0.tar").read_bytes())
    fs.pipe("/src/edits/0/k000.txt", b"x" * 777)
    try:
        drive = reshard(tmp_path, input="memory://src/in", edits="memory://src/edits").run()
        assert drive.bytes_in == {"0": sum(fetched) + 777}
        index = Drive(
            Index(input="memory://src/in", output=None, uid=False, duplicates="error"),
            tmp_path / "index",
        ).run()
        drive = reshard(tmp_path, index=index.out, shard_samples=20).run()
        assert (
            abs(sum(drive.bytes_in.values()) - os.path.getsize(tars / "0.tar"))
            <= tarfile.RECORDSIZE
        )
    finally:
        fs.rm("/src", recursive=True)
