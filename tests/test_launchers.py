"""The scripts in ``launchers/`` that need no cluster to be wrong."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "launchers" / "build_dataset.sh"


def test_a_dataset_in_a_bucket_needs_a_place_for_its_runs(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if name != "HPCPIPE_RUNS"}
    done = subprocess.run(
        [SCRIPT, "shards/*.tar", "s3://bucket/built"],
        cwd=tmp_path, env={**env, "PATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "set HPCPIPE_RUNS to a folder there" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
