"""What `logs` prints of workers and shards."""

import json
import logging
import time

import msgspec

from hpcpipe.cli.follow import Tail
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.history import records_of, speaks_of
from hpcpipe.runtime.log_file import LogFile, log_to
from hpcpipe.runtime.session import Session
from tests.cli.runs import good_run, mixed_run, verb
from tests.toys.runs import run_here, toy_config, write_inputs


def test_few_logs_are_printed(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    shown = capsys.readouterr().out
    assert f"==> {run_dir}/logs/here-1-0.log <==" in shown
    assert "shard broken failed (attempt 1)" in shown


def test_many_logs_are_listed_those_with_errors_first(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    for number in range(4):
        (run_dir / "logs" / f"9_{number}.log").write_text("2026-01-01T00:00:00+0000 INFO x\n" * 9)
    bad = "2026-01-01T00:00:00+0000 ERROR 9_3 hpcpipe: shard x failed\n  Traceback\n"
    (run_dir / "logs" / "9_3.log").write_text(bad)
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("9_3.log")
    assert lines[1].strip() == bad.splitlines()[0]
    assert len(lines) == 6
    assert lines[2].split() == ["288", "B", f"{run_dir}/logs/9_0.log"]
    assert lines[5].split()[0] == "ended"


def test_the_history_of_a_shard(tmp_path, capsys):
    run_dir = mixed_run(tmp_path)
    capsys.readouterr()
    assert verb("logs", run_dir, "late") == 0
    shown = capsys.readouterr().out
    history, _, log = shown.partition("==>")
    lines = history.splitlines()
    assert lines[:2] == ["shard      late", "state      done"]
    assert [line.split()[2] for line in lines[2:5]] == ["failed", "failed", "done"]
    assert "TransientShardError: not yet, attempt 2" in lines[3]
    assert "here-1-0 on" in lines[4]
    assert log.count("shard late failed") == 2
    assert "broken" not in log


def test_resets_and_new_attempts_are_part_of_it(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("retry", run_dir, "--shard", "a") == 0
    assert verb("work", run_dir) == 0
    capsys.readouterr()
    assert verb("logs", run_dir, "a") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["attempt", "reset", "attempt"]
    assert "attempts through 1 count no more" in lines[3]
    assert "work-2-0" in lines[4]


def test_a_running_shard(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    verb("retry", run_dir, "--shard", "b")
    session = Session(RunDir(run_dir), "9_1", 1, tmp_path, heartbeat_s=60)
    session.heartbeat.update(state="working", shard="b", shard_since=time.time())
    session.heartbeat._write()
    capsys.readouterr()
    try:
        assert verb("logs", run_dir, "b") == 0
    finally:
        session.close("")
    assert "running    9_1 on" in capsys.readouterr().out


def test_the_last_step_and_a_worker_by_name(tmp_path, capsys):
    run_dir = good_run(tmp_path, "final")
    capsys.readouterr()
    assert verb("logs", run_dir, FINALIZE) == 0
    assert "shard      @finalize\nstate      done\nattempt 1" in capsys.readouterr().out
    assert verb("logs", run_dir, "here-1-0") == 0
    assert capsys.readouterr().out == (run_dir / "logs" / "here-1-0.log").read_text()


def test_neither_shard_nor_worker(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("logs", run_dir, "here-7-0") == 2
    assert "has no shard here-7-0" in capsys.readouterr().err


def test_workers_that_never_began_are_pointed_at(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    run = RunDir(run_dir)
    launch = run.add_launch(Launch(number=0, kind="slurm", num_workers=3, array_job="77"))
    identity = {"name": "77_0r1-ab", "label": "77_0r1", "launch": launch.number, "host": "n1"}
    identity |= {"node": "n1", "machine": "x", "pid": 1, "start_ticks": 1}
    (run.workers / "77_0r1-ab.json").write_text(json.dumps(identity))
    beat = {"counter": 1, "at": 0, "state": "ended"}
    (run.workers / "77_0r1-ab.beat").write_text(json.dumps(beat))
    folder = run_dir / "submitit" / "2"
    folder.mkdir(parents=True)
    (folder / "77_0_0_log.out").write_text("fine\n")
    (folder / "77_1_0_log.out").write_text("slurmstepd: error\nNo module named hpcpipe\n")
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    shown = capsys.readouterr().out
    assert "launch 2: 2 of 3 workers have not begun" in shown
    assert "77_1_0_log.out\n    No module named hpcpipe\n" in shown
    assert "77_0_0_log.out" not in shown


def test_output_of_plain_sbatch_is_found_too(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    run = RunDir(run_dir)
    launch = Launch(number=0, kind="script", num_workers=1, array_job="78")
    number = run.add_launch(launch).number
    run.update_launch(msgspec.structs.replace(launch, number=number))
    (run_dir / "logs" / "slurm-78_0.out").write_text("module: command not found\n")
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    assert "slurm-78_0.out\n    module: command not found" in capsys.readouterr().out


def test_a_file_submitted_by_hand_is_known_by_its_output(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    RunDir(run_dir).add_launch(Launch(number=0, kind="script", num_workers=2))
    assert verb("logs", run_dir) == 0
    assert "have not begun" not in capsys.readouterr().out
    (run_dir / "logs" / "slurm-79_1.out").write_text("module: command not found\n")
    assert verb("logs", run_dir) == 0
    assert "slurm-79_1.out\n    module: command not found" in capsys.readouterr().out


def test_a_later_launch_that_began_makes_up_for_one_that_did_not(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    RunDir(run_dir).add_launch(Launch(number=0, kind="slurm", num_workers=2, array_job="77"))
    assert verb("work", run_dir) == 0
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    assert "have not begun" not in capsys.readouterr().out


def test_the_log_names_the_class_of_an_unexpected_error(tmp_path, capsys):
    write_inputs(tmp_path, a="crash")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    capsys.readouterr()
    assert verb("logs", run_dir) == 0
    assert "shard a failed (attempt 1): KeyError: 'crash'" in capsys.readouterr().out


def test_an_id_within_another_is_not_meant():
    names = speaks_of("part-1/0042")
    assert names.search("shard part-1/0042 failed: x")
    assert names.search("could not read part-1/0042.")
    assert not names.search("shard part-1/00421 failed")
    assert not names.search("shard a/part-1/0042 failed")
    assert not names.search("shard part-1/0042.b failed")


def test_lines_written_during_an_attempt_count_with_their_tracebacks(tmp_path):
    path = tmp_path / "9_1.log"
    with log_to(LogFile(path, "9_1")):
        logging.getLogger("stage").info("loading")
        try:
            raise ValueError("deep")
        except ValueError:
            logging.getLogger("stage").exception("shard x went wrong")
    now = time.time()
    (about_x,) = records_of(path, "x", [])
    assert about_x.endswith("ValueError: deep\n")
    assert len(list(records_of(path, "y", [(now - 60, now + 60)]))) == 2
    assert list(records_of(path, "y", [(now - 60, now - 30)])) == []


def test_following_reads_whole_new_lines_once(tmp_path):
    (tmp_path / "a.log").write_text("old\n")
    tail = Tail(tmp_path, None)
    assert tail.new_lines() == []
    with (tmp_path / "a.log").open("a") as file:
        file.write("new\nha")
    (tmp_path / "b.log").write_text("other\n")
    assert tail.new_lines() == ["new", "other"]
    with (tmp_path / "a.log").open("a") as file:
        file.write("lf\n")
    assert tail.new_lines() == ["half"]


def test_following_ends_with_the_run(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("logs", run_dir, "--follow") == 0
    assert "setting up stage Toy" in capsys.readouterr().out
