"""How a worker ends when something of the run directory fails."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.manifest.journal import JournalWriter
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime import watchdog
from hpcpipe.runtime.claimer import Claim
from hpcpipe.runtime.deadline import Deadline
from hpcpipe.runtime.session import Session
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.watchdog import EXIT_HUNG, AtHand, Watchdog
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs

ROOT = Path(__file__).parents[2]


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_logs_that_cannot_be_written_leave_nothing_behind(tmp_path):
    write_inputs(tmp_path, a="one")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    config = toy_config(tmp_path, run__scratch=str(scratch), stage__broken_setup=True)
    run_dir = Path(config.run_dir)
    with pytest.raises(Exception, match="model is missing"):
        run_here(config)
    (run_dir / "logs" / "here-1-0.log").unlink()
    (run_dir / "logs").rmdir()
    with pytest.raises(FileNotFoundError, match=r"here-2-0\.log"):
        run_here(config)
    assert threads() == []
    assert list(scratch.iterdir()) == []
    beats = [read_beat(path) for path in run_dir.glob("workers/here-2-*.beat")]
    assert [beat.state for beat in beats] == ["ended"]


def test_a_full_disk_under_the_journal_ends_the_worker_and_nothing_is_lost(
    tmp_path, monkeypatch, capsys
):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "write", no_space)
        assert run_here(config).exit_code == 4
    run_dir = Path(config.run_dir)
    assert events_of(run_dir, "done", "failed") == []
    assert "stopped: 5 times in a row: OSError: [Errno 28] No space left" in capsys.readouterr().err
    assert "No space left" in (run_dir / "logs" / "here-1-0.log").read_text()
    assert threads() == []
    assert run_here(config).exit_code == 0
    assert state_of(run_dir, config).counts()["done"] == 2


def test_a_hung_worker_ends_even_where_that_cannot_be_recorded(tmp_path):
    write_inputs(tmp_path, a="hang")
    code = (
        "import sys; from pathlib import Path; from tests.toys.runs import *\n"
        "from tests.runtime.test_worker_ends import no_space\n"
        "from hpcpipe.manifest.journal import JournalWriter\n"
        "JournalWriter.write = no_space\n"
        "run_here(toy_config(Path(sys.argv[1]), run__shard_timeout_s=0.2))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30)
    assert done.returncode == EXIT_HUNG


def test_a_shard_that_ends_just_in_time_is_not_charged(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, run__shard_timeout_s=1)
    run = prepare(config)[0]
    launch, flag = Launch(number=1, kind="here", num_workers=1), StopFlag(run.stop_file)
    session = Session(run, "w", 1, tmp_path, heartbeat_s=60)
    dog = Watchdog(session, launch, flag, config.run, Deadline(None))
    said = {"num_samples": None, "num_read": None, "stats": {}, "remarked": ""}
    ctx = SimpleNamespace(progress_at=time.monotonic() - 2, **said)
    dog.begin(AtHand(Claim("0", 1, ["a"]), "a", ctx, time.monotonic()))
    monkeypatch.setattr(watchdog, "_is_stuck", dog.let_go)  # it ends while that is found out
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("the worker was ended"))
    dog.look()
    session.close("")
    assert events_of(run.path, "failed", "closed") == []


def test_verifying_before_the_last_step_counts_as_progress(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="flaky 2", b="flaky 2", c="flaky 2")
    calls = []
    monkeypatch.setattr(
        "hpcpipe.runtime.context.ShardContext.progress", lambda self, number: calls.append(number)
    )
    assert run_here(toy_config(tmp_path, "loose")).exit_code == 0
    assert calls == [0, 1, 2]


def test_a_shard_is_not_charged_with_time_in_which_its_machine_stood_still(tmp_path):
    gate = tmp_path / "gate"
    write_inputs(tmp_path, a=f"gate {gate}")
    output = Path(toy_config(tmp_path).output)
    code = (
        "import sys; from pathlib import Path; from tests.toys.runs import *\n"
        "sys.exit(run_here(toy_config(Path(sys.argv[1]), run__shard_timeout_s=5)).exit_code)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as child:
        while not list(output.glob(".a.out.1.part")):
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(5.5)
        os.kill(child.pid, signal.SIGCONT)
        gate.touch()
        assert child.wait(30) == 0
    assert events_of(Path(toy_config(tmp_path).run_dir), "failed") == []
