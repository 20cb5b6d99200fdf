import os
import random
from array import array

import pytest
import xxhash

from hpcpipe.errors import BadInputError
from hpcpipe.runtime import staged_file
from hpcpipe.runtime.staged_file import COPY_BYTES, StagedFile


@pytest.mark.parametrize("seed", range(5))
def test_any_mix_of_writes_and_ranges_gives_their_bytes_in_order(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(staged_file, "COPY_BYTES", 1000)
    rng = random.Random(seed)
    source = rng.randbytes(10_000)
    (tmp_path / "source").write_bytes(source)
    fd = os.open(tmp_path / "source", os.O_RDONLY)
    file = StagedFile("a.tar", tmp_path / "a.part", "xxh3_128")
    expected = b""
    assert file.write(b"") == 0
    for _ in range(200):
        offset, size = rng.randrange(7000), rng.choice([0, 1, 10, 999, 1000, 1001, 3000])
        part = source[offset : offset + size]
        if rng.random() < 0.5:
            file.copy_range(fd, offset, size)
        else:
            kind = rng.choice([bytes, bytearray, memoryview, lambda data: array("B", data)])
            assert file.write(kind(part)) == size
        expected += part
        assert file.tell() == len(expected)
    file.flush()
    file.close(sync=True)
    os.close(fd)
    assert (tmp_path / "a.part").read_bytes() == expected
    record = file.record()
    assert record.size_bytes == len(expected)
    assert record.checksum == f"xxh3_128:{xxhash.xxh3_128_hexdigest(expected)}"


def test_large_writes_reach_the_system_in_pieces(tmp_path, monkeypatch):
    sizes = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(len(data)) or write(fd, data))
    data = random.Random(0).randbytes((3 << 20) + 5)
    file = StagedFile("a.tar", tmp_path / "a.part", "xxh3_128")
    assert file.write(data) == len(data)
    file.close(sync=False)
    assert (tmp_path / "a.part").read_bytes() == data
    assert sizes == [1 << 20, 1 << 20, 1 << 20, 5]
    assert file.record().checksum == f"xxh3_128:{xxhash.xxh3_128_hexdigest(data)}"


def test_a_range_behind_the_end_is_bad_input(tmp_path):
    (tmp_path / "source").write_bytes(b"12345")
    fd = os.open(tmp_path / "source", os.O_RDONLY)
    file = StagedFile("a.tar", tmp_path / "a.part", "xxh3_128")
    with pytest.raises(BadInputError, match="an input ends at byte 5, 10 were expected"):
        file.copy_range(fd, 2, 8)
    file.close(sync=False)
    os.close(fd)


def test_a_full_disk_is_told_when_the_bytes_are_handed_over():
    file = StagedFile("a.tar", "/dev/full", "xxh3_128")
    file.write(b"x")
    with pytest.raises(OSError, match="No space left"):
        file.flush()
    with pytest.raises(OSError, match="No space left"):
        file.write(bytes(COPY_BYTES))
    file.close(sync=False)


def test_a_finished_file_holds_neither_handle_nor_buffer(tmp_path):
    file = StagedFile("a.jpg", tmp_path / "a.part", "xxh3_128")
    file.write(b"abc")
    file.finish()
    assert file.fd == -1
    assert len(file._buffer) == 0
    assert (tmp_path / "a.part").read_bytes() == b"abc"
    file.flush()
    file.close(sync=True)
    assert len(file._buffer) == 0
    assert (file.tell(), file.record().size_bytes) == (3, 3)


@pytest.mark.parametrize("size", [1, COPY_BYTES])
def test_nothing_is_written_behind_the_end(tmp_path, size):
    file = StagedFile("a.jpg", tmp_path / "a.part", "xxh3_128")
    file.write(b"abc")
    file.finish()
    with pytest.raises((OSError, TypeError, ValueError)):
        file.write(bytes(size))
    assert (tmp_path / "a.part").read_bytes() == b"abc"
