"""Filesystems that are gone for a while, or for good: nothing is charged to a shard."""

import json
import time

import pytest

from hpcpipe.__main__ import main as hpcpipe
from hpcpipe.errors import SetupError
from hpcpipe.launch import here, task
from hpcpipe.launch.pending import Pending
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.watchdog import EXIT_HUNG
from tests.faults.driver import Driver
from tests.faults.faults import ALL, Fault
from tests.toys.runs import events_of, parts_left, run_here, state_of, toy_config, write_inputs
from tests.waiting import wait_until

NUM_SHARDS = 6
NAMES = [f"s{n}" for n in range(NUM_SHARDS)]
SHORT = {"run__backoff_s": 0.1, "run__max_env_failures": 6, "run__lease_s": 0.5}
NO_PATIENCE = {"run__max_env_failures": 2, "run__lease_s": 0.3}


@pytest.fixture
def driver(faults):
    with Driver(faults) as driver:
        yield driver


@pytest.fixture
def begun(driver, tmp_path):
    """Begins a run and gives its directory once a shard is done."""

    def begin(name="toy", **values):
        write_inputs(tmp_path, **dict.fromkeys(NAMES, "slow 0.1"))
        driver.start(tmp_path, name, **values)
        run_dir = tmp_path / "runs" / name
        while True:
            found = list(run_dir.glob("[!.]*/journal"))
            if found and events_of(found[0].parent, "done"):
                return found[0].parent
            time.sleep(0.01)

    return begin


def check_complete(run_dir, text="slow 0.1"):
    outputs = {path.name: path.read_text() for path in (run_dir / "out").glob("*.out")}
    assert outputs == {f"{name}.out": f"hello {text.upper()}" for name in NAMES}
    assert events_of(run_dir, "failed") == []
    assert parts_left(run_dir) == []


def check_nothing_is_charged(run_dir, folder):
    state = state_of(run_dir, toy_config(folder))
    assert state.quarantined() == set()
    assert events_of(run_dir, "failed") == []


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ETIMEDOUT"])
@pytest.mark.parametrize("where", ["", "/out"], ids=["the run directory", "the output"])
def test_a_short_outage_is_waited_out(faults, driver, begun, where, error):
    run_dir = begun(**SHORT)
    faults.set(Fault(ALL, f"{run_dir}{where}*", error, for_s=0.8))
    ended = driver.ended()
    assert faults.fired(what="fail")
    assert ended.exit_code == 0, ended.said
    assert "waiting for 0.1 s" in (run_dir / "logs" / "here-1-0.log").read_text()
    check_complete(run_dir)


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("", "EIO", "Input/output error"),
        ("/out", "ESTALE", "Stale file handle"),
        ("/out", "ENOENT", "No such file or directory. Is the filesystem of"),
        ("/out", "EACCES", "Permission denied. Is the filesystem of"),
        ("/claims", "EROFS", "Read-only file system"),
        ("/journal", "ENOSPC", "No space left on device"),
    ],
)
def test_a_long_one_stops_the_worker_with_a_reason(
    faults, driver, begun, tmp_path, where, error, words
):
    run_dir = begun(**NO_PATIENCE)
    faults.set(Fault(ALL, f"{run_dir}{where}*", error))
    ended = driver.ended()
    faults.set()
    assert ended.exit_code == 4, ended.said
    assert words in ended.said
    assert "Traceback" not in ended.said
    check_nothing_is_charged(run_dir, tmp_path)
    assert driver.run(tmp_path, **NO_PATIENCE).exit_code == 0
    check_complete(run_dir)


def test_status_tells_what_stopped_the_worker(faults, driver, begun, capsys):
    run_dir = begun(**NO_PATIENCE)
    faults.set(Fault("create", f"{run_dir}/out*", "EDQUOT"))
    assert "stopped: 2 times in a row: OSError: [Errno 122] Disk quota" in driver.ended().said
    hpcpipe(["status", str(run_dir), "--json"])
    status = json.loads(capsys.readouterr().out)
    (failure,) = status["failures"]
    assert (failure["error_class"], failure["charged"], failure["quarantined"]) == (
        "OSError",
        False,
        0,
    )
    assert "Disk quota exceeded" in failure["example"]
    assert str(run_dir / "out") in failure["example"]


@pytest.mark.parametrize("how", ["moved away", "empty", "unreadable"])
def test_inputs_whose_filesystem_is_gone_are_no_bad_inputs(faults, driver, begun, tmp_path, how):
    run_dir = begun(**NO_PATIENCE)
    inputs, gone = tmp_path / "in", tmp_path / "gone"
    if how == "unreadable":
        faults.set(Fault("open,stat", f"{inputs}/*", "EACCES"))
    else:
        inputs.rename(gone)
        if how == "empty":
            inputs.mkdir()
    ended = driver.ended()
    assert ended.exit_code == 4, ended.said
    assert "is its filesystem mounted on" in ended.said
    check_nothing_is_charged(run_dir, tmp_path)
    faults.set()
    if how != "unreadable":
        if how == "empty":
            inputs.rmdir()
        gone.rename(inputs)
    assert driver.run(tmp_path, **NO_PATIENCE).exit_code == 0
    check_complete(run_dir)


def test_an_input_that_alone_is_gone_is_at_fault(driver, begun, tmp_path):
    run_dir = begun(**NO_PATIENCE)
    done = {event.shard for event in events_of(run_dir, "done")}
    last = max(set(NAMES) - done)
    (tmp_path / "in" / f"{last}.txt").unlink()
    assert driver.ended().exit_code == 3
    (failed,) = events_of(run_dir, "failed")
    assert (failed.shard, failed.error_class) == (last, "BadInputError")


def test_an_output_folder_is_never_made_again_in_the_place_of_its_filesystem(
    driver, begun, tmp_path
):
    output = tmp_path / "mount" / "out"
    run_dir = begun(**NO_PATIENCE, stage__output=str(output))
    output.parent.rename(tmp_path / "away")
    ended = driver.ended()
    assert ended.exit_code == 4
    assert f"Is the filesystem of {output} mounted on" in ended.said
    assert not output.exists()
    check_nothing_is_charged(run_dir, tmp_path)


def test_a_worker_on_a_node_without_the_outputs_filesystem_takes_no_shard(faults, driver, tmp_path):
    write_inputs(tmp_path, **dict.fromkeys(NAMES, "slow 0.1"))
    output = tmp_path / "mount"
    config = toy_config(tmp_path, stage__output=str(output))
    assert run_here(toy_config(tmp_path, stage__output=str(output), limit=1)).exit_code == 0
    (run_dir,) = (tmp_path / "runs" / "toy").glob("[!.]*")
    output.rename(tmp_path / "elsewhere")
    output.mkdir()
    pending = Pending(RunDir(run_dir), config, *open_state(RunDir(run_dir), config), NUM_SHARDS)
    with pytest.raises(SetupError, match=r"lacks \.hpcpipe/toy\.json.*is its filesystem mounted"):
        here.launch(pending)
    assert list(output.iterdir()) == []
    assert len(events_of(run_dir, "done", "failed", "closed")) == 1


def test_a_worker_that_cannot_beat_gives_back_what_it_has(faults, driver, begun, tmp_path):
    run_dir = begun(run__lease_s=0.2, run__heartbeat_s=0.05, run__max_env_failures=2)
    faults.set(Fault("open,write", f"{run_dir}/workers/*.beat", "EIO"))
    ended = driver.ended()
    assert ended.exit_code == 4, ended.said
    assert "other workers take this one for dead after run.lease_s" in ended.said
    faults.set()
    assert driver.run(tmp_path).exit_code == 0
    check_complete(run_dir)


def test_what_hangs_longer_than_its_lease_is_done_by_another_and_published_once(
    faults, driver, begun, tmp_path
):
    values = {"run__lease_s": 0.5, "run__heartbeat_s": 0.1}
    hangs = {"what": "delay", "seconds": 600, "who": "hung"}
    with Driver(faults, "hung", machine="another", host="elsewhere") as other:
        write_inputs(tmp_path, **dict.fromkeys(NAMES, "slow 0.1"))
        other.start(tmp_path, **values)
        while not (found := list(tmp_path.glob("runs/toy/[!.]*/out/*.out"))):
            time.sleep(0.01)
        run_dir = found[0].parents[1]
        # The whole filesystem hangs for it, heartbeats included.
        faults.set(
            Fault("fsync", f"{run_dir}/out/*.part", **hangs),
            Fault("open", f"{run_dir}/workers/*.beat", **hangs),
        )
        assert driver.run(tmp_path, **values).exit_code == 0
        assert faults.fired("fsync", what="delay")
        before = {path: path.stat() for path in run_dir.glob("out/*.out")}
        faults.set()
        assert other.ended().exit_code == 0
    (lost,) = events_of(run_dir, "lost")
    assert lost.owner.startswith("here-1-0")
    assert {path: path.stat().st_ino for path in before} == {
        path: info.st_ino for path, info in before.items()
    }
    assert len(events_of(run_dir, "done")) == NUM_SHARDS
    check_complete(run_dir)


def test_a_node_that_sees_what_others_made_only_later_does_nothing_again(
    faults, driver, begun, tmp_path
):
    """The others' journals are missing in its listings of the folder."""
    values = {"run__lease_s": 5.0, "run__linger_s": 20.0}
    with Driver(faults, "early", machine="another", host="early") as early:
        (tmp_path / "first").mkdir()
        write_inputs(tmp_path / "first", a="one")
        assert [one.run(tmp_path / "first").exit_code for one in (early, driver)] == [0, 0]
        run_dir = tmp_path / "runs" / "toy"
        paths = ("claims/*", "journal*", "workers/*")
        faults.set(
            *(
                Fault("stat,open,list", f"{run_dir}/*/{path}", "negative", seconds=60, who="early")
                for path in paths
            )
        )
        gate = tmp_path / "gate"
        write_inputs(tmp_path, **dict.fromkeys(NAMES, f"gate {gate}"))
        for num_begun, one in enumerate((early, driver), start=1):
            one.start(tmp_path, **values)
            wait_until(lambda n=num_begun: len(list(run_dir.glob("[!.]*/journal/*"))) == n)
        gate.touch()
        endings = driver.ended(), early.ended()
    assert faults.fired("list", "/journal/", "unlisted")
    (run_dir,) = run_dir.glob("[!.]*")
    assert sorted(event.shard for event in events_of(run_dir, "done")) == NAMES
    assert endings[0].exit_code == 0, endings
    assert endings[1].exit_code in (0, 4), endings  # as far as that one can see
    check_complete(run_dir, f"gate {gate}")


def test_a_worker_waits_until_it_sees_its_launch(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one", b="two")
    run_dir = run_here(toy_config(tmp_path, limit=1)).run_dir
    config = run_dir / "launches" / "1.yaml"
    later = config.rename(tmp_path / "later.yaml")
    sleeps = []

    def sleep(seconds):
        sleeps.append(seconds)
        if len(sleeps) == 2:
            later.rename(config)

    monkeypatch.setattr(task.time, "sleep", sleep)
    task.await_launch(run_dir, 1)
    assert sleeps == [task.POLL_S] * 2


def test_a_shard_is_not_charged_for_a_filesystem_that_does_not_answer(faults, tmp_path):
    write_inputs(tmp_path, a="one")
    values = {"run__shard_timeout_s": 0.5, "run__max_attempts": 1}
    faults.set(Fault("open", f"{tmp_path}/in/a.txt", "delay", seconds=600))
    with Driver(faults) as driver:
        driver.start(tmp_path, **values)
        assert driver.exit_code() == EXIT_HUNG
    (run_dir,) = (tmp_path / "runs" / "toy").glob("[!.]*")
    (closed,) = events_of(run_dir, "closed", "failed")
    assert (closed.event, closed.error_class) == ("closed", "OutageError")
    assert "waits for a filesystem or device without an answer" in closed.error
    assert run_here(toy_config(tmp_path, **values)).exit_code == 0
