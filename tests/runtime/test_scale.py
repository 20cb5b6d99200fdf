"""Runs of many shards in the small: several shards a claim, few files, few calls a shard."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale import num_operations
from hpcpipe.launch.prepare import prepare
from hpcpipe.manifest import plan, snapshot
from hpcpipe.manifest.rundir import RunDir
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs

ROOT = Path(__file__).parents[2]
NUM_SHARDS = 600
MAX_OPERATIONS = 6


@pytest.fixture
def many(tmp_path, monkeypatch):
    """600 shards in 60 blocks; one is bad, one fails once."""
    monkeypatch.setattr(plan, "MAX_BLOCKS", 60)
    monkeypatch.setattr("hpcpipe.launch.prepare.MAX_BLOCKS", 60)
    write_inputs(tmp_path, **{f"s{number:04d}": "x" for number in range(NUM_SHARDS)})
    write_inputs(tmp_path, s0003="bad", s0017="flaky 2")
    return tmp_path


def test_blocks_of_ten_are_claimed_together_and_counted_one_by_one(many):
    config = toy_config(many, run__max_failed_fraction=0.01)
    run, _ = prepare(config)
    assert run.info.block_size == 10
    # A limit may end inside a block.
    assert run_here(toy_config(many, limit=25, run__max_failed_fraction=0.1)).exit_code == 0
    assert state_of(run.path, config).counts() == {
        "done": 24, "pending": NUM_SHARDS - 25, "quarantined": 1,
    }  # fmt: skip
    names = {path.name for path in run.claims.glob("*/*")}
    assert names == {"0.1", "1.1", "1.2", "2.1"}
    assert run_here(config).exit_code == 0
    assert state_of(run.path, config).counts()["done"] == NUM_SHARDS - 1
    done = events_of(run.path, "done")
    assert len(done) == len({event.shard for event in done}) == NUM_SHARDS - 1
    assert {e.shard for e in done if e.attempt == 2} >= {"s0017"}
    assert len([path for path in run.path.rglob("*") if "out" not in path.parts]) < 50


def test_larger_blocks_come_first(many):
    write_inputs(many, s0599="x" * 1000)
    config = toy_config(many, run__max_failed_fraction=0.1)
    run_here(config)
    done = [event.shard for event in events_of(Path(config.run_dir), "done")]
    assert done[:10] == [f"s{number:04d}" for number in range(590, 600)]


def test_a_resume_from_a_snapshot_goes_on_where_the_journals_are(many, monkeypatch, caplog):
    monkeypatch.setattr(snapshot, "WORTH_BYTES", 0)
    monkeypatch.setattr("hpcpipe.launch.compact.COMPACT_BYTES", 1000)
    config = toy_config(many, limit=300, run__max_failed_fraction=0.1)
    run = RunDir(run_here(config).run_dir)
    assert not snapshot.snapshot_path(run).exists()
    whole = toy_config(many, run__max_failed_fraction=0.1)
    assert run_here(whole).exit_code == 0
    done = [event.shard for event in events_of(run.path, "done")]
    assert len(done) == len(set(done)) == NUM_SHARDS - 1
    assert "anew" not in caplog.text


def test_a_shard_costs_few_calls_to_the_filesystem(many):
    assert shutil.which("strace"), "apt-get install strace"
    config = toy_config(many, limit=1)
    run_dir = run_here(config).run_dir
    trace = many / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=%file,fsync,fdatasync", "-o", str(trace)]
    command += [sys.executable, "-m", "hpcpipe", "work", str(run_dir)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = trace.read_text()
    assert len(re.findall(r"fdatasync\(\d+<.*/journal/work", said)) >= NUM_SHARDS - 2
    # Claims are made for ten at once: what is left is a fence and a journal line a shard.
    assert NUM_SHARDS < num_operations(trace, run_dir) < MAX_OPERATIONS * NUM_SHARDS
