"""What real workers are seen to have used: busy, sleeping, killed and requeued ones."""

import os
import signal
import time

import pytest

from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.summary import Observer
from tests.cli.runs import begun_run, shard_at_hand, verb, working
from tests.toys.runs import run_here, toy_config, write_inputs

BURNING = "tests.toys.burning.Burning"


def summary_of(run_dir):
    run = RunDir(run_dir)
    return Observer(run, read_options(run)).summarize()


def worker_of(summary, label):
    (view,) = [view for view in summary.workers if view.identity.label == label]
    return view


def test_processor_time_of_the_worker_and_its_children_counts_and_sleep_does_not(tmp_path):
    write_inputs(tmp_path, a="burn 0.5")
    burning = summary_of(run_here(toy_config(tmp_path, stage___target_=BURNING)).run_dir)
    write_inputs(tmp_path, a="slow 1")
    sleeping = summary_of(run_here(toy_config(tmp_path)).run_dir)
    burning, sleeping = burning.accounting, sleeping.accounting
    assert burning.cpu_hours_used * 3600 >= 1.0
    assert burning.busy_hours * 3600 >= 1.0
    assert sleeping.busy_hours * 3600 >= 1.0
    assert sleeping.cpu_hours_used * 3600 < 0.9
    assert burning.cpu_used_share > sleeping.cpu_used_share


def test_a_worker_of_its_own_counts_from_its_process_on(tmp_path):
    write_inputs(tmp_path, a="one", b="burn 0.2", c="bad")
    run_dir = run_here(toy_config(tmp_path, stage___target_=BURNING, limit=1)).run_dir
    with working(run_dir) as worker:
        assert worker.wait(60) == 0
    used = worker_of(summary_of(run_dir), "work-2-0").beat.used
    assert used.cpu_s >= 0.4
    assert used.wall_s > used.busy_s >= 0.4
    assert (used.num_done, used.num_failed, used.num_samples) == (1, 1, 1)
    assert used.cpus == min(2, len(os.sched_getaffinity(0)))


def test_a_killed_worker_counts_up_to_its_last_beat(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="two", c="hang")
    with working(run_dir, SLURM_JOB_ID="7", SLURM_CPUS_ON_NODE="6") as worker:
        until = time.monotonic() + 30
        while shard_at_hand(run_dir) != "c":
            assert time.monotonic() < until
        (path,) = (run_dir / "workers").glob("7_0-*.beat")
        while not read_beat(path).used.num_done or read_beat(path).shard != "c":
            assert time.monotonic() < until
            time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    last = read_beat(path).used
    first, second = summary_of(run_dir), summary_of(run_dir)
    view = worker_of(first, "7_0")
    assert view.state == "silent"
    assert view.beat.used == last
    assert last.cpus == 6
    assert (last.num_done, last.num_samples, last.bytes_in) == (1, 1, len("two"))
    assert last.wall_s > last.busy_s > 0
    assert first.accounting == second.accounting
    assert first.accounting.num_workers == 2


def test_every_time_a_requeued_worker_begins_counts_by_itself(tmp_path):
    run_dir = begun_run(tmp_path, a="one", b="two", c="three")
    for restart in ("0", "1"):
        job = {"SLURM_JOB_ID": "8", "SLURM_RESTART_COUNT": restart, "SLURM_CPUS_ON_NODE": "4"}
        with working(run_dir, "--limit", str(2 + int(restart)), **job) as worker:
            assert worker.wait(60) == 0
    summary = summary_of(run_dir)
    both = [worker_of(summary, label) for label in ("8_0", "8_0r1")]
    assert [(view.identity.job, view.identity.restart) for view in both] == [("8", 0), ("8", 1)]
    assert [view.beat.used.num_done for view in both] == [1, 1]
    assert summary.accounting.num_workers == 3
    assert summary.accounting.worker_hours == pytest.approx(
        sum(view.beat.used.wall_s for view in summary.workers) / 3600
    )
    assert summary.active_s <= summary.accounting.worker_hours * 3600 + 0.1
    assert (summary.num_samples, summary.bytes_in) == (3, len("onetwothree"))


def test_a_finished_run_says_what_it_used(tmp_path, capsys):
    write_inputs(tmp_path, a="slow 0.1", b="bad")
    config = toy_config(tmp_path)
    run_dir = run_here(config).run_dir
    assert "used " not in capsys.readouterr().out
    write_inputs(tmp_path, b="fine")
    assert verb("retry", run_dir, "--all") == 0
    assert run_here(config).exit_code == 0
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if line.startswith("used ")]
    for part in ("CPU-seconds", "% idle", "% of the cores used; ", "samples/s", "read", "written"):
        assert part in line
