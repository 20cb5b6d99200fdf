"""Kill -9 at each step between a finished shard and its line in the journal."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.toys.runs import events_of, parts_left, run_here, toy_config, write_inputs

ROOT = Path(__file__).parents[2]
DIE = """
import os, signal, sys
from pathlib import Path
from hpcpipe.manifest import claims, journal
from hpcpipe.runtime import context, outputs
from tests.toys.runs import run_here, toy_config

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(real):
    def call(*args, **kwargs):
        real(*args, **kwargs)
        die()
    return call

{}
run_here(toy_config(Path(sys.argv[1])))
"""
STEPS = {
    "claimed": "claims.Claims._link = then_die(claims.Claims._link)",
    "written": "outputs.StagedFile.close = die",
    "synced": "outputs.StagedFile.close = then_die(outputs.StagedFile.close)",
    "fenced": "outputs.rename = die",
    "renamed": "outputs.rename = then_die(outputs.rename)",
    "published": "context.ShardContext.discard = die",
    "torn line": "journal.write_all = lambda fd, data: (os.write(fd, bytes(data)[:20]), die())",
    "recorded": "journal.JournalWriter.write = then_die(journal.JournalWriter.write)",
}


@pytest.mark.parametrize("step", STEPS)
def test_the_next_command_goes_on(tmp_path, step):
    write_inputs(tmp_path, a="one", b="two")
    command = [sys.executable, "-c", DIE.format(STEPS[step]), str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=30)
    assert killed.returncode == -9
    config = toy_config(tmp_path)
    final = sorted(path.read_text() for path in Path(config.output).glob("*.out"))
    assert final in ([], ["hello ONE"])
    assert run_here(config).exit_code == 0
    assert sorted(e.shard for e in events_of(Path(config.run_dir), "done")) == ["a", "b"]
    assert (Path(config.output) / "a.out").read_text() == "hello ONE"
    assert parts_left(tmp_path) == []
