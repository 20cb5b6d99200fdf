"""The end of a run: its claims go, and what comes after that begins anew."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpcpipe.cli import clean, retry, verify
from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.claims import claim_path
from hpcpipe.manifest.claims_folder import claims_folder, close_claims, open_claims
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.snapshot import snapshot_path
from hpcpipe.runtime.closing import close_if_over
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.session import Session
from tests.runtime.test_claimer import Peer, finish_all
from tests.toys.elsewhere import standing_still
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs

ROOT = Path(__file__).parents[2]


def claims_left(run_dir):
    """Everything of claims in a run directory, by name."""
    return {p.name: len(list(p.rglob("*"))) for p in run_dir.iterdir() if "claims" in p.name}


@pytest.fixture
def config(tmp_path):
    write_inputs(tmp_path, a="one", b="two", c="three", d="four")
    return toy_config(tmp_path)


@pytest.fixture
def run(config):
    return prepare(config)[0]


def done_attempts(run_dir):
    return sorted((event.shard, event.attempt) for event in events_of(run_dir, "done"))


def test_claims_go_at_the_end_and_a_snapshot_is_there(config):
    run_dir = run_here(config).run_dir
    assert claims_left(run_dir) == {"claims.closed": 0}
    assert snapshot_path(RunDir(run_dir)).is_file()
    files = [path for path in run_dir.rglob("*") if "out" not in path.parts]
    assert len(files) < 40


def test_a_run_with_shards_left_stays_open(tmp_path, config):
    run_dir = run_here(toy_config(tmp_path, limit=2)).run_dir
    assert list(claims_left(run_dir)) == ["claims"]
    assert run_here(config).exit_code == 0
    assert claims_left(run_dir) == {"claims.closed": 0}


def test_quarantined_shards_do_not_keep_it_open(tmp_path, config):
    write_inputs(tmp_path, bad="bad")
    started = run_here(config)
    assert started.exit_code == 3
    assert claims_left(started.run_dir) == {"claims.closed": 0}


def test_retry_extend_and_requeue_open_it_again(tmp_path, config, capsys):
    run_dir = run_here(config).run_dir
    retry.main([str(run_dir), "--shard", "b"])
    assert run_here(config).exit_code == 0
    assert claims_left(run_dir) == {"claims-2.closed": 0}
    assert done_attempts(run_dir) == [("a", 1), ("b", 1), ("b", 2), ("c", 1), ("d", 1)]

    write_inputs(tmp_path, b="longer now", e="new")
    assert run_here(toy_config(tmp_path, extend=True)).exit_code == 0
    assert claims_left(run_dir) == {"claims-3.closed": 0}
    assert done_attempts(run_dir)[3:] == [("b", 3), ("c", 1), ("d", 1), ("e", 1)]

    (Path(config.output) / "c.out").unlink()
    assert verify.main([str(run_dir), "--requeue"]) == 3
    assert run_here(config).exit_code == 0
    assert claims_left(run_dir) == {"claims-4.closed": 0}
    assert state_of(run_dir, config).done_attempt("c") == 2
    assert (Path(config.output) / "c.out").read_text() == "hello THREE"


def test_the_last_step_is_done_again_after_a_retry(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path, "final")
    run_dir = run_here(config).run_dir
    retry.main([str(run_dir), "--shard", "b"])
    assert run_here(config).exit_code == 0
    assert [event.attempt for event in events_of(run_dir, "done") if event.shard[0] == "@"] == [
        1,
        2,
    ]


def session(run, name):
    """A worker that has begun, and does nothing."""
    return Session(run, name, 1, run.path, heartbeat_s=0.05)


def test_of_two_who_leave_together_the_later_one_sees_that_all_have_ended(run, config):
    one, two = session(run, "one"), session(run, "two")
    state, _ = open_state(run, config)
    finish_all(Peer(run, config, "peer"), "a", "b", "c", "d")
    state = state_of(run.path, config)
    one.close("")
    close_if_over(run, config.run, state)
    assert list(claims_left(run.path)) == ["claims"]
    two.close("")
    close_if_over(run, config.run, state)
    assert claims_left(run.path) == {"claims.closed": 0}


def test_many_may_close_at_once(run, config):
    workers = [session(run, f"w{number}") for number in range(6)]
    finish_all(Peer(run, config, "peer"), "a", "b", "c", "d")
    barrier, failures = threading.Barrier(len(workers)), []

    def leave(worker):
        try:
            barrier.wait()
            worker.close("")
            close_if_over(run, config.run, state_of(run.path, config))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=leave, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert claims_left(run.path) == {"claims.closed": 0}


def test_a_worker_elsewhere_that_beats_keeps_it_open(run, config, monkeypatch):
    monkeypatch.setattr("hpcpipe.manifest.identity._machine", lambda: "elsewhere")
    other = session(run, "other")
    monkeypatch.undo()
    finish_all(Peer(run, config, "peer"), "a", "b", "c", "d")
    close_if_over(run, config.run, state_of(run.path, config))
    assert list(claims_left(run.path)) == ["claims"]
    other.close("")
    assert run_here(config).exit_code == 0  # "nothing left to do"
    assert claims_left(run.path) == {"claims.closed": 0}


def test_a_sleeper_wakes_after_the_end(run, config):
    sleeper, other = Peer(run, config, "sleeper"), Peer(run, config, "other")
    claim = sleeper.claim()
    finish_all(other, "a", "b", "c", "d")
    close_claims(run.path)
    assert not sleeper.claimer.fence(claim)
    assert sleeper.claim() is None
    assert claims_left(run.path) == {"claims.closed": 0}


def test_a_sleeper_wakes_after_a_new_beginning(run, config):
    sleeper, other = Peer(run, config, "sleeper"), Peer(run, config, "other")
    claim = sleeper.claim()
    assert (claim.block, claim.attempt) == ("0", 1)
    finish_all(other, "a", "b", "c", "d")
    close_claims(run.path)
    other.record(Event("reset", 1, "b"))
    other.claims.reopen()
    assert not sleeper.claimer.fence(claim)
    # By what it knows block 1 awaits its first attempt, and in the new folder nobody has that.
    late = sleeper.claim()
    assert (late.block, late.attempt, late.shards) == ("1", 2, ["b"])
    assert sleeper.claimer.fence(late)
    assert other.claimer.claim(other.order) is not None
    assert not other.claims.take("1", 2)
    assert not claim_path(claims_folder(run.path), "1", 1).exists()


def test_a_name_is_never_used_again(run):
    assert open_claims(run.path).name == "claims"
    close_claims(run.path)
    assert open_claims(run.path).name == "claims-2"
    assert open_claims(run.path).name == "claims-2"
    close_claims(run.path)
    close_claims(run.path)
    assert claims_left(run.path) == {"claims-2.closed": 0}
    assert open_claims(run.path).name == "claims-3"
    assert len(list(run.claims.iterdir())) == 256


def test_who_opens_what_was_closed_meanwhile_opens_the_next(run, monkeypatch):
    close_claims(run.path)
    real, calls = os.rename, []

    def late(old, new):
        if not calls:
            calls.append(new)
            open_claims(run.path)
            close_claims(run.path)
        real(old, new)

    monkeypatch.setattr(os, "rename", late)
    assert open_claims(run.path).name == "claims-3"
    assert sorted(claims_left(run.path)) == ["claims-2.closed", "claims-3"]


def test_what_was_never_opened_goes_once_its_name_is_used_up(run, monkeypatch):
    close_claims(run.path)
    real = os.mkdir
    killed = []

    def late(path, *args, **kwargs):
        if not killed and str(path).endswith("/7f"):
            killed.append(path)
            open_claims(run.path)
            close_claims(run.path)
            assert claims_left(run.path) == {"claims-2.closed": 0}
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", late)
    assert open_claims(run.path).name == "claims-3"
    assert claims_left(run.path) == {"claims-2.closed": 0, "claims-3": 256}
    (run.path / ".claims-4.01234567").mkdir()
    close_claims(run.path)
    assert sorted(claims_left(run.path)) == [".claims-4.01234567", "claims-3.closed"]


def test_many_may_open_at_once(run):
    close_claims(run.path)
    barrier, opened = threading.Barrier(6), []

    def race():
        barrier.wait()
        opened.append(open_claims(run.path).name)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["claims-2"] * 6
    assert claims_left(run.path) == {"claims.closed": 0, "claims-2": 256}


def test_attempts_that_only_claims_knew_of_keep_their_numbers(run, config):
    dead, other = Peer(run, config, "dead"), Peer(run, config, "other")
    assert dead.claims.take("1", 1)
    assert dead.claims.take("1", 2)
    finish_all(other, "a", "b", "c", "d")
    close_if_over(run, config.run, state_of(run.path, config))
    assert claims_left(run.path) == {"claims.closed": 0}
    retry.main([str(run.path), "--shard", "b"])
    assert run_here(config).exit_code == 0
    assert state_of(run.path, config).done_attempt("b") == 3


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from hpcpipe.manifest import claims_folder
from tests.toys.runs import run_here, toy_config
where = sys.argv[2]
if where == "renaming":
    claims_folder._rename_folder = lambda old, new: os.kill(os.getpid(), signal.SIGKILL)
else:
    real, left = shutil.rmtree, [100]
    def rmtree(path, **kwargs):
        left[0] -= "closed" in str(path)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, **kwargs)
    shutil.rmtree = rmtree
run_here(toy_config(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("where", ["renaming", "emptying"])
@pytest.mark.parametrize("how", ["launch", "clean"])
def test_a_closing_that_is_killed_is_finished_by_who_comes_next(tmp_path, config, where, how):
    command = [sys.executable, "-c", KILLED, str(tmp_path), where]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    run_dir = Path(config.run_dir)
    ((name, num_left),) = claims_left(run_dir).items()
    assert (name, num_left > 100) == ("claims" if where == "renaming" else "claims.closed", True)
    if how == "clean":
        clean.main([str(run_dir)])
    else:
        assert run_here(config).exit_code == 0
    assert claims_left(run_dir) == {"claims.closed": 0}


@pytest.mark.parametrize("is_reopened", [False, True])
def test_a_stopped_worker_that_wakes_in_a_closed_run_changes_nothing(tmp_path, is_reopened):
    with standing_still(tmp_path, "loose") as (config, wake):
        run_dir, output = Path(config.run_dir), Path(config.output)
        assert run_here(config).exit_code == 0
        assert claims_left(run_dir) == {"claims.closed": 0}
        if is_reopened:
            retry.main([str(run_dir), "--shard", "b"])
            assert run_here(config).exit_code == 0
        before = {path.name: path.stat().st_mtime_ns for path in output.glob("*.out")}
        attempts = done_attempts(run_dir)
        wake()
    assert {path.name: path.stat().st_mtime_ns for path in output.glob("*.out")} == before
    assert done_attempts(run_dir) == attempts
    assert sum(claims_left(run_dir).values()) == 0
    assert verify.main([str(run_dir), "--deep"]) == 0
