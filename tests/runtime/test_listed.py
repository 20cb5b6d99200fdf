"""Lists of what counters count are found beside the outputs, and nothing else is."""

import os

import pytest

from hpcpipe.runtime.listed import find_listed


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_the_first_line_of_a_list_at_any_depth_is_an_example(output):
    (output / "unmatched/a/b").mkdir(parents=True)
    (output / "unmatched/a/b/0.txt").write_text("lost\nlost, too\n")
    (listed,) = find_listed(str(output), {"unmatched": 2, "samples": 9})
    assert (listed.name, listed.number, listed.example) == ("unmatched", 2, "lost")
    assert find_listed(str(output), {"unmatched": 0}) == []


def test_a_folder_of_outputs_is_no_list_and_is_not_read_whole(output, monkeypatch):
    (output / "selected/a").mkdir(parents=True)
    for number in range(5):
        (output / f"selected/a/{number}.jsonl").write_text("{}\n")
    seen = []
    scandir = os.scandir

    class Counted:
        def __init__(self, folder):
            self._entries = scandir(folder)

        def __enter__(self):
            return map(lambda entry: seen.append(entry.name) or entry, self._entries)

        def __exit__(self, *exc):
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Counted)
    assert find_listed(str(output), {"selected": 5}) == []
    assert len(seen) == 2


def test_nothing_is_looked_for_elsewhere_nor_waited_for(output):
    (output.parent / "secret.txt").write_text("of others\n")
    (output / "links").mkdir()
    (output / "links/0.txt").symlink_to(output.parent / "secret.txt")
    (output / "pipes").mkdir()
    os.mkfifo(output / "pipes/0.txt")
    assert find_listed(str(output), dict.fromkeys(("..", ".", "", "links", "pipes"), 1)) == []
