"""What `status` says of shards at hand, and of samples that were not made."""

import json

import msgspec
import pytest

from hpcpipe.cli import samples_text
from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.manifest.journal import Event, JournalWriter
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.live import AtHand
from hpcpipe.runtime.unmade import by_reason, made_share, num_unmade
from tests.cli.runs import begun_run, summary_of, verb, working
from tests.toys.runs import run_here, toy_config, write_inputs
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "80")


def telling_beat(run_dir):
    beats = [read_beat(path) for path in (run_dir / "workers").glob("*.beat")]
    return next((beat for beat in beats if beat is not None and beat.stats), None)


def test_counters_rates_and_remark_of_a_shard_at_hand_are_seen(tmp_path, capsys):
    gate = tmp_path / "open"
    run_dir = begun_run(tmp_path, a="first", b=f"tell {gate}")
    with working(run_dir) as process:
        wait_until(lambda: telling_beat(run_dir))
        capsys.readouterr()
        assert verb("status", run_dir) == 0
        shown = capsys.readouterr().out
        assert verb("status", run_dir, "--json") == 0
        tree = json.loads(capsys.readouterr().out)
        gate.touch()
        process.wait(60)
    lines = [line for line in shown.splitlines() if line.startswith(("now", "at hand", "made"))]
    assert lines[0].endswith(" read, 75.0% made")
    assert "samples/s, " in lines[0]
    assert lines[1:] == [
        "at hand    30 of 31 samples, 3.0 MiB of 3.0 MiB read, in 1 shard",
        "made       75.6%: 31 of 41 samples",
    ]
    assert "  failed to download 22.0%: http_404 6 (14.6%), dns 3 (7.3%)\n" in shown
    assert "  left out by their owners 2.4%: robots_txt 1 (2.4%)\n" in shown
    assert "counted    samples_in 1, urls 40\n" in shown
    worker = next(line for line in shown.splitlines() if line.endswith("  b"))
    assert "samples/s  75.0% made" in worker
    assert "\n    slowest: slow.example 12 s, \\x1b[31mother.example 9 s, " in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("  ")) <= 80
    assert (tree["num_samples"], tree["stats"]) == (1, {"samples_in": 1})
    assert tree["at_hand"] == {
        "num_shards": 1,
        "num_samples": 30,
        "bytes_in": 3 << 20,
        "stats": {
            "failed_to_download.dns": 3,
            "failed_to_download.http_404": 6,
            "left_out_by_their_owners.robots_txt": 1,
            "urls": 40,
        },
    }
    assert tree["live"]["made_share"] == 0.75
    assert len(tree["workers"][0]["beat"]["remark"]) == 200
    after = summary_of(run_dir)
    assert (after.num_samples, after.at_hand) == (81, AtHand())
    assert after.made_share == 81 / 91
    assert [view.beat.stats for view in after.workers] == [{}, {}]


def test_a_shard_that_was_done_since_the_last_beat_is_counted_once(tmp_path):
    run_dir = begun_run(tmp_path, a="first", b=f"tell {tmp_path / 'open'}")
    with working(run_dir):
        wait_until(lambda: telling_beat(run_dir))
        writer = JournalWriter(RunDir(run_dir).journal / "other-1.jsonl")
        stats = {"failed_to_download.dns": 5}
        writer.write(Event(event="done", attempt=1, shard="b", stats=stats, num_samples=95))
        writer.close()
        summary = summary_of(run_dir)
    assert summary.at_hand.num_shards == 0
    assert (summary.num_samples, summary.unmade[0].number) == (96, 5)
    assert len(summary.unmade) == 1


def test_thirty_classes_fit_a_terminal(tmp_path):
    write_inputs(tmp_path, a="fine")
    summary = summary_of(run_here(toy_config(tmp_path)).run_dir)
    stats = {f"failed_to_download.class_{n}": 1000 * (30 - n) for n in range(30)}
    stats |= {"failed.broken": 2, "failed.": 7, "failedly.x": 3, "left_out_late": 1, "urls": 9}
    number = num_unmade(stats)
    assert number == 465_002
    summary = msgspec.structs.replace(
        summary,
        stats=stats,
        num_samples=10**6,
        unmade=by_reason(stats, 10**6),
        made_share=made_share(10**6, number),
    )
    assert samples_text.sample_lines(summary, 80) == [
        "made       68.3%: 1,000,000 of 1,465,002 samples",
        "           failed to download 31.7%: class_0 30,000 (2.0%),",
        "             class_1 29,000 (2.0%), class_2 28,000 (1.9%),",
        "             class_3 27,000 (1.8%), class_4 26,000 (1.8%),",
        "             class_5 25,000 (1.7%), class_6 24,000 (1.6%),",
        "             class_7 23,000 (1.6%), class_8 22,000 (1.5%),",
        "             class_9 21,000 (1.4%), class_10 20,000 (1.4%),",
        "             class_11 19,000 (1.3%), and 18 more 171,000 (11.7%)",
        "           failed <0.1%: broken 2 (<0.1%)",
        "counted    failed. 7, failedly.x 3, left_out_late 1, urls 9",
    ]
