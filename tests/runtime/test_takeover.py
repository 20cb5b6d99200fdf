"""A worker that stands still past its lease, seen from another machine, and then goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.toys.runs import events_of, parts_left, run_here, toy_config, write_inputs

ROOT = Path(__file__).parents[2]
ELSEWHERE = """
import sys
from pathlib import Path
from hpcpipe.manifest import identity
identity._machine = lambda: "another machine"
from tests.toys.runs import run_here, toy_config
sys.exit(run_here(toy_config(Path(sys.argv[1]), "final", run__lease_s=0.5)).exit_code)
"""


def test_what_it_was_doing_is_done_by_another_and_published_once(tmp_path):
    gate = tmp_path / "gate"
    write_inputs(tmp_path, a=f"gate {gate}", b="one", c="two")
    config = toy_config(tmp_path, "final", run__lease_s=0.5)
    run_dir, output = Path(config.run_dir), Path(config.output)
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        while not list(output.glob(".a.out.1.part")):
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGSTOP)
        gate.touch()
        assert run_here(config).exit_code == 0
        before = (output / "a.out").stat()
        assert (output / "a.out").read_text() == f"hello {f'gate {gate}'.upper()}"
        os.kill(child.pid, signal.SIGCONT)
        assert child.wait(30) == 0, child.stdout.read()
    after = (output / "a.out").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(e.attempt for e in events_of(run_dir, "done") if e.shard == "a") == [2]
    assert len(events_of(run_dir, "done")) == 4
    assert [(e.block, e.attempt) for e in events_of(run_dir, "lost")] == [("0", 1)]
    assert events_of(run_dir, "failed") == []
    assert parts_left(run_dir) == []
