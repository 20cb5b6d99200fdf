"""`make demo` works."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_demo_runs_and_checks_its_result(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "launchers" / "demo.sh", tmp_path / "demo"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "240 samples" in done.stdout
    assert "72 are the edits, 168 are as they were, 0 are wrong" in done.stdout
