"""Toy runs in every state, and real workers on them, for the tests of the verbs."""

import contextlib
import os
import subprocess
import sys
import time

import hpcpipe.__main__ as command
from hpcpipe.manifest.heartbeat import read_beat
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.summary import Observer
from tests.toys.runs import run_here, toy_config, write_inputs


def verb(*args):
    """Run a verb as the command does, errors turned into messages; returns its exit code."""
    return command.main([str(arg) for arg in args])


def mixed_run(folder, **values):
    """A run of four shards: two done, one bad, one that fails until its third attempt."""
    write_inputs(folder, a="fine", b="fine too", broken="bad", late="flaky 3")
    return run_here(toy_config(folder, **values)).run_dir


def good_run(folder, name="toy", **values):
    """A run of three shards that are all done."""
    write_inputs(folder, a="one", b="two", c="three")
    return run_here(toy_config(folder, name, **values)).run_dir


def begun_run(folder, **texts):
    """A run of these inputs whose first shard alone was done."""
    write_inputs(folder, **texts)
    return run_here(toy_config(folder, limit=1)).run_dir


@contextlib.contextmanager
def working(run_dir, *args, **env):
    """A process of ``work`` with more environment; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hpcpipe", "work", str(run_dir), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | env,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def shard_at_hand(run_dir):
    """Wait until some worker is at a shard; returns its id."""
    until = time.monotonic() + 30
    while True:
        beats = [read_beat(path) for path in (run_dir / "workers").glob("*.beat")]
        for beat in beats:
            if beat is not None and beat.shard:
                return beat.shard
        assert time.monotonic() < until, beats
        time.sleep(0.02)


def summary_of(run_dir):
    """What `status` knows of a run."""
    run = RunDir(run_dir)
    return Observer(run, read_options(run)).summarize()
