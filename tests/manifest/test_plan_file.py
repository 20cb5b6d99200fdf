import errno
import os
import random

import pytest

from hpcpipe.manifest import plan_file
from hpcpipe.manifest.plan_file import PlanFile


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Lines of all lengths in a file, which is read in small pieces."""
    monkeypatch.setattr(plan_file, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(plan_file, "_READ_BYTES", 16)
    rng = random.Random(1)
    lines = [rng.randbytes(rng.randrange(50)).hex().encode() for _ in range(200)]
    (tmp_path / "plan.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return lines


def test_chunks_are_whole_lines_and_together_the_file(tmp_path, lines):
    path = tmp_path / "plan.jsonl"
    chunks = list(PlanFile(path).chunks())
    assert b"".join(chunk for _, chunk in chunks) == path.read_bytes()
    assert all(chunk.endswith(b"\n") for _, chunk in chunks)
    assert [start for start, _ in chunks] == [
        sum(len(chunk) for _, chunk in chunks[:n]) for n in range(len(chunks))
    ]


@pytest.mark.parametrize("order", ["forward", "backward", "mixed"])
def test_every_line_is_found_in_any_order(tmp_path, lines, order):
    offsets = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]
    wanted = list(zip(offsets, lines, strict=True))
    if order == "backward":
        wanted.reverse()
    if order == "mixed":
        random.Random(2).shuffle(wanted)
    file = PlanFile(tmp_path / "plan.jsonl")
    assert [file.line(offset) for offset, _ in wanted] == [line for _, line in wanted]


def test_what_follows_the_last_newline_is_there_too(tmp_path):
    (tmp_path / "plan.jsonl").write_bytes(b"one\ntorn")
    file = PlanFile(tmp_path / "plan.jsonl")
    assert list(file.chunks()) == [(0, b"one\n"), (4, b"torn")]
    assert file.line(4) == b"torn"


def test_a_filesystem_that_fails_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "plan.jsonl").write_bytes(b"one\n")
    file = PlanFile(tmp_path / "plan.jsonl")

    def fail(*args):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match=r"Stale file handle.*plan\.jsonl"):
        file.line(0)
