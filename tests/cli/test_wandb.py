"""`wandb` with the real library, offline; what it wrote is read back with its own reader."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from wandb.proto.wandb_internal_pb2 import Record
from wandb.sdk.internal.datastore import DataStore

from hpcpipe.errors import ConfigError
from hpcpipe.manifest.journal import Event, JournalReader
from hpcpipe.runtime.logbook import FILE, Logbook
from tests.cli.runs import begun_run, good_run, verb, working


def wandb_command(run_dir, *args):
    return [sys.executable, "-m", "hpcpipe", "wandb", str(run_dir), *args]


def environment(**env):
    return os.environ | {"WANDB_MODE": "offline"} | env


def log(run_dir, *args, **env):
    """Run the verb to its end; returns what it printed."""
    command = wandb_command(run_dir, "--once", *args)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**env))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def following(run_dir):
    """The verb until the run ends; killed at the end if it still runs."""
    process = subprocess.Popen(
        wandb_command(run_dir), stdout=subprocess.PIPE, text=True, env=environment()
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_shards(run_dir, number):
    """Wait until so many shards stand in the book, without opening it, which writes."""
    path = run_dir / FILE
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b'"shard"') < number:
        assert time.monotonic() < until
        time.sleep(0.05)


def parts(run_dir):
    """What every start of the verb wrote, in order: (run record, history by step)."""
    found = []
    for path in sorted(run_dir.glob("wandb/offline-run-*/*.wandb")):
        run, history = None, {}
        for record in records(path):
            if record.HasField("run"):
                run = record.run
            elif record.HasField("history"):
                items = record.history.item
                step = {item.key or item.nested_key[0]: item.value_json for item in items}
                step = {name: json.loads(value) for name, value in step.items()}
                assert step["_step"] not in history
                history[step["_step"]] = step
        found.append((run, history))
    return found


def records(path):
    """The records of one file; what a killed process left ends anywhere."""
    store = DataStore()
    with contextlib.suppress(AssertionError):
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            yield Record.FromString(data)
    store.close()


def finished(run_dir):
    """The journal's results by shard."""
    events = [event for _, event in JournalReader(run_dir / "journal", Event).read()]
    return {event.shard: event for event in events if event.event == "done"}


def figures(step):
    return {name: value for name, value in step.items() if "/" in name}


def test_a_download_is_logged_as_img2dataset_does(tmp_path):
    (tmp_path / "open").touch()
    texts = dict.fromkeys("abc", f"tell {tmp_path / 'open'}")
    run_dir = begun_run(tmp_path, **texts, d="other")
    assert "logged     1 shard now, 1 in all" in log(run_dir, "--project", "photos")
    assert verb("work", run_dir) == 0
    assert "logged     3 shards now, 4 in all" in log(run_dir)
    assert "logged     0 shards now, 4 in all" in log(run_dir, WANDB_PROJECT="another")
    (run, first), (_, second), (run_again, third) = parts(run_dir)
    assert (run.project, run_again.project) == ("photos", "photos")
    assert run.run_id == run_again.run_id
    assert [list(history) for history in (first, second, third)] == [[0], [1, 2, 3], []]

    order = sorted(finished(run_dir).values(), key=lambda event: event.at)
    began, count, good, bad = float("inf"), 0, 0, 0
    for event, step in zip(order, [*first.values(), *second.values()], strict=True):
        is_download = event.shard != "d"
        tried, made, failed = (90, 80, 9) if is_download else (1, 1, 0)
        began, count = min(began, event.at - event.seconds), count + tried
        good, bad = good + made, bad + failed
        seconds = (event.seconds, event.at - began)
        shown = {
            "total/img_per_sec": count / seconds[1],
            "total/success": good / count,
            "total/failed_to_download": bad / count,
            "total/failed_to_resize": 0,
            "total/left_out_by_their_owners": (count - good - bad) / count,
            "total/count": count,
            "total/shards": step["_step"] + 1,
        }
        if is_download:
            shown |= {
                "worker/img_per_sec": 90 / event.seconds,
                "worker/success": 80 / 90,
                "worker/failed_to_download": 9 / 90,
                "worker/failed_to_resize": 0,
                "worker/left_out_by_their_owners": 1 / 90,
                "worker/count": 90,
            }
        else:
            shown |= {"worker/samples_per_s": 1 / event.seconds, "worker/count": 1}
        assert figures(step) == pytest.approx(shown, rel=1e-3)
        assert step["_timestamp"] == pytest.approx(event.at)
    tables = [json.loads(path.read_text()) for path in run_dir.glob("wandb/*/files/media/table/*")]
    table = max(tables, key=lambda table: table["data"][0][2])
    assert table["columns"] == ["status", "frequency", "count"]
    assert [[name, number] for name, _, number in table["data"]] == [
        ["success", 241],
        ["http_404", 18],
        ["dns", 9],
        ["robots_txt", 3],
    ]
    assert table["data"][0][1] == 241 / 271


def test_what_is_no_download_is_samples_and_shards_and_the_config_keeps_secrets(tmp_path):
    run_dir = good_run(tmp_path, run__backoff_s=0.25)
    text = (run_dir / "config.yaml").read_text()
    assert "word: " in text
    line = next(line for line in text.splitlines() if line.startswith("  word: "))
    (run_dir / "config.yaml").write_text(text.replace(line, "  word: ${oc.env:HUB_TOKEN}"))
    for path in run_dir.glob("launches/*.yaml"):
        path.write_text(path.read_text().replace(line, "  word: ${oc.env:HUB_TOKEN}"))
    log(run_dir, HUB_TOKEN="very-secret")
    ((run, history),) = parts(run_dir)
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["stage"]["word"] == "${oc.env:HUB_TOKEN}"
    assert config["run"]["backoff_s"] == 0.25
    assert (run.project, run.display_name, run.job_type) == ("hpcpipe", run_dir.name, "toy")
    last = figures(history[2])
    assert set(last) == {
        *("worker/samples_per_s", "worker/count"),
        *("total/samples_per_s", "total/count", "total/shards"),
    }
    assert (last["total/shards"], last["total/count"]) == (3, 3)
    written = [path.read_bytes() for path in run_dir.rglob("wandb/**/*") if path.is_file()]
    assert written
    assert not any(b"very-secret" in data for data in written)


def test_it_follows_a_run_and_a_killed_one_gives_every_shard_its_step_again(tmp_path):
    gate = tmp_path / "open"
    run_dir = begun_run(tmp_path, a="one", b="two", c=f"gate {gate}")
    with working(run_dir) as worker:
        with following(run_dir) as follower:
            wait_for_shards(run_dir, 2)
            other = subprocess.run(
                wandb_command(run_dir), capture_output=True, text=True, env=environment()
            )
            assert other.returncode == 2
            told = f"(process {follower.pid}) logs this run already: leave it to that"
            assert told in other.stderr
        killed = parts(run_dir)
        with following(run_dir) as follower:
            gate.touch()
            worker.wait(120)
            shown, _ = follower.communicate(timeout=120)
    assert "logged     3 shards now, 3 in all" in shown
    book = Logbook(run_dir, "")
    assert sorted(book.shards) == ["a", "b", "c"]
    assert book.num_sent == 3
    run, whole = parts(run_dir)[-1]
    assert list(whole) == [0, 1, 2]
    assert run.run_id == book.run_id
    for _, history in killed:
        assert all(figures(history[step]) == figures(whole[step]) for step in history)
    events = finished(run_dir)
    assert [step["_timestamp"] for step in whole.values()] == pytest.approx(
        [events[shard].at for shard in book.shards]
    )


def test_an_interrupt_ends_it_in_order(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b=f"gate {tmp_path / 'open'}")
    with working(run_dir), following(run_dir) as follower:
        wait_for_shards(run_dir, 1)
        follower.send_signal(signal.SIGINT)
        shown, _ = follower.communicate(timeout=120)
    assert follower.returncode == 0
    assert "stopped    the same command goes on\nlogged     1 shard now, 1 in all" in shown
    assert Logbook(run_dir, "").num_sent == 1
    assert list(parts(run_dir)[0][1]) == [0]


def test_mistakes_are_told(tmp_path, capsys, monkeypatch):
    run_dir = good_run(tmp_path)
    Logbook(run_dir, "never used")
    Logbook(run_dir, "photos").add(["a"])
    assert verb("wandb", run_dir, "--once", "--project=other") == 2
    assert "this run is logged to project photos, id " in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "disabled")
    done = subprocess.run(
        wandb_command(run_dir, "--once"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr[:36]) == (2, "error: WANDB_MODE=disabled: nothing ")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert verb("wandb", run_dir, "--once") == 2
    assert "pip install 'hpcpipe[wandb]'" in capsys.readouterr().err


def test_a_line_that_was_cut_is_no_shard_and_damage_is_told(tmp_path):
    book = Logbook(tmp_path, "photos")
    book.add(["a", "b"])
    book.sent()
    book.add(["c"])
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes() + b'{"shard":"d')
    again = Logbook(tmp_path, "other")
    assert (again.shards, again.num_sent, again.project) == (["a", "b", "c"], 2, "photos")
    again.add(["d"])
    assert Logbook(tmp_path, "").shards == ["a", "b", "c", "d"]
    path.write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match=r"wandb\.jsonl is damaged: remove it"):
        Logbook(tmp_path, "photos")
