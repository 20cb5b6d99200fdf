import errno
import os

import pytest

from hpcpipe.manifest.journal import Event, JournalReader, JournalWriter
from hpcpipe.stage import OutputFile


def done(shard: str, attempt: int = 1) -> Event:
    return Event(
        event="done", attempt=attempt, shard=shard, outputs=(OutputFile("a.tar", 3, "x:y"),)
    )


def test_reads_only_what_is_new(tmp_path):
    writer = JournalWriter(tmp_path / "w.jsonl")
    reader = JournalReader(tmp_path, Event)
    writer.write(done("a"))
    assert reader.read() == [("w", done("a"))]
    assert reader.read() == []
    writer.write(done("b"), done("c"))
    JournalWriter(tmp_path / "v.jsonl").write(done("d"))
    assert [(name, event.shard) for name, event in reader.read()] == [
        ("v", "d"),
        ("w", "b"),
        ("w", "c"),
    ]


def test_a_journal_has_one_writer_ever(tmp_path):
    JournalWriter(tmp_path / "w.jsonl").write(done("a"))
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path / "w.jsonl")


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    path = tmp_path / "w.jsonl"
    JournalWriter(path).write(done("a"), done("b"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader = JournalReader(tmp_path, Event)
    assert [event.shard for _, event in reader.read()] == ["a"]
    path.write_bytes(whole)
    assert [event.shard for _, event in reader.read()] == ["b"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"done","att\x00',
        b'{"event":"done","attempt":1,"shard":"\xff"}',
        b'{"event":"done","attempt":1,"shard":"c"} {"event":"done","attempt":1,"shard":"d"}',
    ],
)
def test_a_damaged_line_is_passed_over_and_named(tmp_path, caplog, line):
    path = tmp_path / "w.jsonl"
    JournalWriter(path).write(done("a"), done("b"))
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert [event.shard for _, event in JournalReader(tmp_path, Event).read()] == ["a", "b"]
    assert "damaged line" in caplog.text
    assert str(path) in caplog.text


def test_a_failed_write_leaves_whole_lines_and_is_made_up_for_by_the_next(tmp_path, monkeypatch):
    writer = JournalWriter(tmp_path / "w.jsonl")
    writer.write(done("a"))
    real = os.write
    monkeypatch.setattr(os, "write", _Half(real))
    with pytest.raises(OSError, match="No space"):
        writer.write(done("b"))
    reader = JournalReader(tmp_path, Event)
    assert [event.shard for _, event in reader.read()] == ["a"]
    monkeypatch.setattr(os, "write", real)
    writer.write(done("c"))
    assert [event.shard for _, event in reader.read()] == ["b", "c"]


def raising(error):
    def call(*args):
        raise error

    return call


class _Half:
    """Writes ten bytes, then finds the disk full."""

    def __init__(self, real):
        self.real, self.calls = real, 0

    def __call__(self, fd, data):
        self.calls += 1
        if self.calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(fd, data[:10])


def test_an_interrupt_between_writing_and_counting_costs_no_line(tmp_path, monkeypatch):
    writer = JournalWriter(tmp_path / "w.jsonl")
    reader = JournalReader(tmp_path, Event)
    for error in (KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", raising(error))
            with pytest.raises(type(error)):
                writer.write(Event("done", 1, shard=type(error).__name__))
        assert [event.shard for _, event in reader.read()] == [type(error).__name__]
    writer.write(Event("done", 1, shard="last"))
    writer.close()
    assert [event.shard for _, event in reader.read()] == ["last"]
    shards = [event.shard for _, event in JournalReader(tmp_path, Event).read()]
    assert shards == ["KeyboardInterrupt", "OSError", "last"]


def test_a_torn_tail_that_cannot_be_removed_costs_no_line(tmp_path, monkeypatch):
    writer = JournalWriter(tmp_path / "w.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _Half(os.write))
        patch.setattr(os, "ftruncate", raising(OSError(errno.EIO, "Input/output error")))
        for shard in ("a", "b"):
            with pytest.raises(OSError, match=r"w\.jsonl"):
                writer.write(done(shard))
    writer.write()
    assert [event.shard for _, event in JournalReader(tmp_path, Event).read()] == ["a", "b"]


def test_what_was_read_before_another_journal_failed_is_read_again(tmp_path):
    JournalWriter(tmp_path / "a.jsonl").write(done("a"))
    (tmp_path / "b.jsonl").mkdir()  # cannot be read
    reader = JournalReader(tmp_path, Event)
    with pytest.raises(IsADirectoryError):
        reader.read()
    (tmp_path / "b.jsonl").rmdir()
    assert [event.shard for _, event in reader.read()] == ["a"]


def test_a_journal_that_no_listing_shows_yet_is_read_where_it_is_expected(tmp_path, monkeypatch):
    JournalWriter(tmp_path / "late.jsonl").write(done("a"))
    reader = JournalReader(tmp_path, Event)
    (tmp_path / "as it was").mkdir()
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: real(tmp_path / "as it was"))
    assert reader.read() == []
    reader.expect("late")
    reader.expect("never made")
    assert [(worker, event.shard) for worker, event in reader.read()] == [("late", "a")]
    monkeypatch.setattr(os, "scandir", real)
    assert reader.read() == []
