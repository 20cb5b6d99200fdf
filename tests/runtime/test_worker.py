import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpcpipe.errors import SetupError
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.watchdog import EXIT_HUNG
from tests.toys.runs import events_of, parts_left, run_here, state_of, toy_config, write_inputs


def out(config, name):
    return (Path(config.output) / f"{name}.out").read_text()


def test_every_shard_is_done_once_and_recorded(tmp_path):
    write_inputs(tmp_path, a="one", b="two", c="three")
    config = toy_config(tmp_path)
    started = run_here(config)
    assert started.exit_code == 0
    assert [out(config, name) for name in "abc"] == ["hello ONE", "hello TWO", "hello THREE"]
    done = {event.shard: event for event in events_of(started.run_dir, "done")}
    assert sorted(done) == ["a", "b", "c"]
    assert done["a"].outputs[0].path == "a.out"
    assert done["a"].outputs[0].size_bytes == 9
    assert done["a"].outputs[0].checksum.startswith("xxh3_128:")
    assert done["a"].outputs[0].num_samples == 1
    assert done["a"].stats == {"samples_in": 1}
    assert parts_left(tmp_path) == []


def test_running_again_does_nothing(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path)
    first = run_here(config)
    before = (Path(config.output) / "a.out").stat()
    second = run_here(config)
    assert second == first
    assert (Path(config.output) / "a.out").stat().st_mtime_ns == before.st_mtime_ns
    assert len(events_of(first.run_dir, "done")) == 1


def test_bad_input_is_quarantined_with_its_reason_and_the_others_finish(tmp_path):
    write_inputs(tmp_path, a="one", b="bad", c="three")
    config = toy_config(tmp_path)
    started = run_here(config)
    assert started.exit_code == 3
    assert state_of(started.run_dir, config).quarantined() == {"b"}
    (failed,) = events_of(started.run_dir, "failed")
    assert (failed.shard, failed.error_class, failed.final) == ("b", "BadInputError", True)
    assert "bad at byte 7" in failed.error
    assert not (Path(config.output) / "b.out").exists()
    assert parts_left(tmp_path) == []


def test_transient_failures_are_tried_again_until_they_work(tmp_path):
    write_inputs(tmp_path, a="flaky 3", b="two")
    config = toy_config(tmp_path)
    started = run_here(config)
    assert started.exit_code == 0
    assert [(e.attempt, e.error_class) for e in events_of(started.run_dir, "failed")] == [
        (1, "TransientShardError"),
        (2, "TransientShardError"),
    ]
    assert state_of(started.run_dir, config).done_attempt("a") == 3


def test_an_unknown_error_is_tried_max_attempts_times_and_logged_with_its_place(tmp_path):
    write_inputs(tmp_path, a="crash", b="two")
    config = toy_config(tmp_path)
    started = run_here(config)
    assert started.exit_code == 3
    assert len(events_of(started.run_dir, "failed")) == 3
    log = (started.run_dir / "logs" / "here-1-0.log").read_text()
    assert "shard a failed (attempt 3)" in log
    assert "tests/toys/toy.py" in log


def test_errors_of_the_environment_stop_the_worker_and_charge_no_shard(tmp_path, capsys):
    write_inputs(tmp_path, **{f"s{n}": "enospc" for n in range(8)})
    config = toy_config(tmp_path)
    started = run_here(config)
    assert started.exit_code == 4
    assert events_of(started.run_dir, "failed") == []
    assert len(events_of(started.run_dir, "closed")) == config.run.max_env_failures == 5
    assert (
        "5 times in a row: OSError: [Errno 28] No space left on device" in capsys.readouterr().err
    )
    assert len(state_of(started.run_dir, config).pending()) == 8
    write_inputs(tmp_path, **{f"s{n}": "x" for n in range(8)})
    # The inputs changed since they were planned: extending takes them as they are now.
    assert run_here(toy_config(tmp_path, extend=True)).exit_code == 0


def test_a_worker_that_cannot_set_up_takes_no_shard(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, stage__broken_setup=True)
    with pytest.raises(SetupError, match="the model is missing"):
        run_here(config)
    (run_dir,) = (tmp_path / "runs" / "toy").iterdir()
    assert events_of(run_dir, "done", "failed", "closed") == []
    assert not any(path.is_file() for path in (run_dir / "claims").rglob("*"))


def test_limit_does_the_plans_first_shards_and_the_rest_can_follow(tmp_path):
    write_inputs(tmp_path, a="1", b="2", c="3")
    first = run_here(toy_config(tmp_path, limit=2))
    assert first.exit_code == 0
    assert sorted(e.shard for e in events_of(first.run_dir, "done")) == ["a", "b"]
    second = run_here(toy_config(tmp_path))
    assert second.run_dir == first.run_dir
    assert second.exit_code == 0
    assert sorted(e.shard for e in events_of(first.run_dir, "done")) == ["a", "b", "c"]


def test_an_input_that_changed_after_planning_is_refused_and_redone_when_extended(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    config = toy_config(tmp_path, limit=1)
    started = run_here(config)
    write_inputs(tmp_path, b="changed since")
    again = run_here(toy_config(tmp_path))
    assert again.exit_code == 3
    (failed,) = events_of(started.run_dir, "failed")
    assert "changed since the plan was made (3 bytes then, 13 now)" in failed.error
    assert run_here(toy_config(tmp_path, extend=True)).exit_code == 0
    assert out(config, "b") == "hello CHANGED SINCE"


def test_finalize_runs_once_after_all_shards(tmp_path):
    write_inputs(tmp_path, a="one", b="flaky 2")
    config = toy_config(tmp_path, "final")
    started = run_here(config)
    assert started.exit_code == 0
    assert (Path(config.output) / "list.txt").read_text() == "a 9\nb 13\n"
    assert [e.shard for e in events_of(started.run_dir, "done")][-1] == FINALIZE
    write_inputs(tmp_path, c="three")
    assert run_here(toy_config(tmp_path, "final", extend=True)).exit_code == 0
    assert (Path(config.output) / "list.txt").read_text() == "a 9\nb 13\nc 11\n"


def test_finalize_waits_for_quarantined_shards_unless_they_are_allowed(tmp_path):
    write_inputs(tmp_path, a="one", b="bad", c="x", d="y")
    config = toy_config(tmp_path, "final")
    assert run_here(config).exit_code == 3
    assert not (Path(config.output) / "list.txt").exists()
    config = toy_config(tmp_path, "final", run__max_failed_fraction=0.25)
    assert run_here(config).exit_code == 0
    assert (Path(config.output) / "list.txt").read_text() == "a 9\nb -1\nc 7\nd 7\n"


def test_results_that_another_attempt_may_have_written_are_verified_and_redone(tmp_path):
    write_inputs(tmp_path, a="flaky 2", b="two")
    config = toy_config(tmp_path, "loose", limit=1)
    started = run_here(config)
    # A late writer of the lost first attempt publishes its own bytes over the recorded ones.
    (Path(config.output) / "a.out").write_text("other bytes")
    assert run_here(toy_config(tmp_path, "loose")).exit_code == 0
    assert out(config, "a") == "hello FLAKY 2"
    assert [e.shard for e in events_of(started.run_dir, "reset")] == ["a"]
    ends = [e.shard for e in events_of(started.run_dir, "done") if e.shard in ("a", FINALIZE)]
    assert ends[-1] == FINALIZE


def worker_process(folder, **values):
    """Start the run of a config in another process."""
    code = (
        "import json, sys; from pathlib import Path; from tests.toys.runs import *\n"
        "sys.exit(run_here(toy_config(Path(sys.argv[1]), **json.loads(sys.argv[2]))).exit_code)"
    )
    with (folder / "stdout").open("a") as stdout, (folder / "stderr").open("a") as stderr:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(folder), json.dumps(values)],
            cwd=Path(__file__).parents[2],
            stdout=stdout,
            stderr=stderr,
        )


def test_a_killed_workers_shard_is_taken_over_at_once_on_the_same_machine(tmp_path):
    write_inputs(tmp_path, a="kill 2", b="two")
    config = toy_config(tmp_path)
    child = worker_process(tmp_path, run__lease_s=1000)
    child.wait(60)
    assert child.returncode == -9
    started = run_here(toy_config(tmp_path, run__lease_s=1000))
    assert started.exit_code == 0
    (lost,) = events_of(started.run_dir, "lost")
    assert (lost.attempt, lost.owner.partition("-")[0]) == (1, "here")
    assert state_of(started.run_dir, config).done_attempt("a") == 2
    assert parts_left(tmp_path) == []


def test_two_commands_at_once_share_the_shards(tmp_path):
    write_inputs(tmp_path, **{f"s{n:02d}": "slow 0.05" for n in range(30)})
    children = [worker_process(tmp_path) for _ in range(2)]
    codes = [child.wait(60) for child in children]
    assert codes == [0, 0], (tmp_path / "stderr").read_text()
    (run_dir,) = (tmp_path / "runs" / "toy").iterdir()
    done = events_of(run_dir, "done")
    assert sorted(e.shard for e in done) == [f"s{n:02d}" for n in range(30)]
    assert len(list((run_dir / "journal").iterdir())) == 2


def test_a_hung_shard_ends_its_worker_and_is_charged(tmp_path):
    write_inputs(tmp_path, a="hang", b="two")
    child = worker_process(tmp_path, run__shard_timeout_s=0.3, run__max_attempts=1)
    assert child.wait(60) == EXIT_HUNG
    (run_dir,) = (tmp_path / "runs" / "toy").iterdir()
    (failed,) = events_of(run_dir, "failed")
    assert (failed.shard, failed.error_class) == ("a", "TransientShardError")
    assert "no progress for 0.3 s" in failed.error
    config = toy_config(tmp_path, run__max_attempts=1)
    assert run_here(config).exit_code == 3
    assert out(config, "b") == "hello TWO"


def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path):
    write_inputs(tmp_path, a="one", b="slow 60")
    child = worker_process(tmp_path)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list(tmp_path.glob("runs/toy/*/out/.b*.part")):
        time.sleep(0.05)
    child.send_signal(2)
    assert child.wait(30) == 130
    assert "interrupted, can be resumed" in (tmp_path / "stdout").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    (run_dir,) = (tmp_path / "runs" / "toy").iterdir()
    assert parts_left(tmp_path) == []
    assert [e.attempt for e in events_of(run_dir, "closed")] == [1]


def test_the_stop_file_ends_a_worker_after_the_shard_at_hand(tmp_path):
    write_inputs(tmp_path, **{f"s{n}": "slow 0.3" for n in range(20)})
    config = toy_config(tmp_path)
    result = []
    thread = threading.Thread(target=lambda: result.append(run_here(config)))
    thread.start()
    run_dir = Path(config.run_dir)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (
        (run_dir / "journal").exists() and events_of(run_dir, "done")
    ):
        time.sleep(0.02)
    RunDir(run_dir).stop_file.touch()
    thread.join(30)
    assert result[0].exit_code == 4
    assert 1 <= len(events_of(run_dir, "done")) < 20
    assert events_of(run_dir, "closed", "failed") == []


def test_a_stage_that_stops_without_being_told_is_not_tried_for_ever(tmp_path):
    write_inputs(tmp_path, a="one", b="stop")
    config = toy_config(tmp_path)
    assert run_here(config).exit_code == 3
    failures = events_of(Path(config.run_dir), "failed")
    assert len(failures) == 3
    assert "nobody had told it to stop" in failures[0].error
