"""A worker that stands still past its lease, seen from another machine, and then goes on."""

from pathlib import Path

from tests.toys.elsewhere import standing_still
from tests.toys.runs import events_of, parts_left, run_here


def test_what_it_was_doing_is_done_by_another_and_published_once(tmp_path):
    with standing_still(tmp_path, "final") as (config, wake):
        run_dir, output = Path(config.run_dir), Path(config.output)
        assert run_here(config).exit_code == 0
        before = (output / "a.out").stat()
        assert (output / "a.out").read_text() == f"hello {f'gate {tmp_path}/gate'.upper()}"
        wake()
    after = (output / "a.out").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(e.attempt for e in events_of(run_dir, "done") if e.shard == "a") == [2]
    assert len(events_of(run_dir, "done")) == 4
    assert [(e.block, e.attempt) for e in events_of(run_dir, "lost")] == [("0", 1)]
    assert events_of(run_dir, "failed") == []
    assert parts_left(run_dir) == []
