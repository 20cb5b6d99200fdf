"""A worker that is on another machine, as far as the manifest can tell, and stands still."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.toys.runs import toy_config, write_inputs

ROOT = Path(__file__).parents[2]
_WORKER = """
import sys
from pathlib import Path
from hpcpipe.manifest import identity
identity._machine = lambda: "another machine"
from tests.toys.runs import run_here, toy_config
sys.exit(run_here(toy_config(Path(sys.argv[1]), sys.argv[2], run__lease_s=0.5)).exit_code)
"""


@contextlib.contextmanager
def standing_still(folder, name):
    """A run of the shards a, b and c with a worker stopped in a, which nothing else holds up.

    Yields the run's config and a function that lets the worker go on and waits for its good end.
    """
    gate = folder / "gate"
    write_inputs(folder, a=f"gate {gate}", b="one", c="two")
    config = toy_config(folder, name, run__lease_s=0.5)
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(folder), name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        while not list(Path(config.output).glob(".a.out.1.part")):
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGSTOP)
        gate.touch()

        def wake():
            os.kill(child.pid, signal.SIGCONT)
            assert child.wait(60) == 0, child.stdout.read()

        try:
            yield config, wake
        finally:
            child.kill()
