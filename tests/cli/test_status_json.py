"""``status --json`` has exactly the fields that are described, whatever there is to say."""

import json
import re
from pathlib import Path

import pytest

from hpcpipe.cli import status_json
from hpcpipe.cli.watch import Queue
from hpcpipe.launch.not_started import NotStarted
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.summary import Observer
from tests.cli.runs import good_run, mixed_run, verb

TEXT = (Path(__file__).parents[2] / "docs" / "status-json.md").read_text()


def described(title):
    """The fields that a section of the description lists."""
    section = TEXT[TEXT.index(f"\n## {title}\n") :]
    section = section[: section.find("\n## ", 5) if "\n## " in section[5:] else None]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def check(tree):
    assert list(tree) == described("The run")
    for name in ("recent", "overall"):
        assert list(tree[name]) == described("`recent`, `overall`")
    assert list(tree["live"]) == described("`live`, `workers[].live`")
    assert list(tree["at_hand"]) == described("`at_hand`")
    for item in tree["unmade"]:
        assert list(item) == described("`unmade[]`")
    for item in tree["listed"]:
        assert list(item) == described("`listed[]`")
    assert list(tree["accounting"]) == described("`accounting`")
    for worker in tree["workers"]:
        assert list(worker) == described("`workers[]`")
        assert list(worker["live"]) == described("`live`, `workers[].live`")
        assert list(worker["identity"]) == described("`workers[].identity`")
        assert list(worker["beat"]) == described("`workers[].beat`")
        assert list(worker["beat"]["pace"]) == described("`workers[].beat.pace`")
        assert list(worker["beat"]["used"]) == described("`workers[].beat.used`")
    for launch in tree["launches"]:
        assert list(launch["code"]) == described("`launches[].code`")
    for name in ("failures", "bad_nodes", "launches", "not_started"):
        for item in tree[name]:
            assert list(item) == described(f"`{name}[]`")
    for launch in tree["launches"]:
        assert list(launch["code"]) == described("`launches[].code`")


@pytest.fixture(autouse=True)
def _runs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))


def printed(run_dir, capsys):
    capsys.readouterr()
    assert verb("status", run_dir, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_every_field_is_there_and_described(tmp_path, capsys):
    tree = printed(mixed_run(tmp_path), capsys)
    assert tree["failures"]
    assert tree["workers"]
    assert tree["launches"]
    check(tree)


def test_also_where_there_is_nothing_to_say(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    for path in (run_dir / "workers").iterdir():
        path.unlink()
    tree = printed(run_dir, capsys)
    check(tree)
    assert tree["accounting"]["idle_share"] is None
    assert tree["active_s"] == 0
    assert set(tree["overall"].values()) == {0}


def test_what_slurm_says_stands_beside_it(tmp_path):
    run = RunDir(good_run(tmp_path))
    summary = Observer(run, read_options(run)).summarize()
    lost = NotStarted(
        launch=1, array_job="9", num_workers=2, num_missing=1, num_ended=None, outputs=["a"]
    )
    queue = Queue({"PENDING": 1}, {"Resources": 1}, [lost])
    tree = json.loads(json.dumps(status_json.tree(summary, queue)))
    check(tree)
    assert tree["queue"] == {"PENDING": 1}
    assert tree["pending_reasons"] == {"Resources": 1}
    assert tree["not_started"][0]["outputs"] == ["a"]


def test_the_sums_agree_with_the_workers(tmp_path, capsys):
    tree = printed(mixed_run(tmp_path), capsys)
    (worker,) = tree["workers"]
    used = worker["beat"]["used"]
    assert (used["num_done"], used["num_failed"], used["num_samples"]) == (3, 3, 3)
    assert used["bytes_in"] == tree["bytes_in"] == len("fine" + "fine too" + "flaky 3")
    assert used["bytes_out"] == tree["bytes_out"]
    assert tree["num_samples"] == 3
    assert tree["accounting"]["worker_hours"] == used["wall_s"] / 3600
    assert tree["accounting"]["busy_hours"] == used["busy_s"] / 3600
    assert tree["accounting"]["cpu_hours_given"] == pytest.approx(
        used["wall_s"] * used["cpus"] / 3600
    )
