"""Build the sdist and the wheel, install the wheel in a clean environment, and use it.

Run from anywhere: ``python tests/wheel_check.py``. Only the core is installed, so that a need
for an extra (torch above all) shows. Exits non-zero with the failing command's output.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.data.make_shards import make_edits, make_shards, read_shard  # noqa: E402

NUM_SAMPLES = 10
TIMEOUT_S = 300


def main() -> None:
    """Do all of it in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hpcpipe-wheel-") as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        bin_folder = install(wheel, folder / "venv")
        use(bin_folder, folder / "elsewhere")
    print(f"wheel check passed: {wheel.name}")


def build(dist: Path) -> Path:
    """Build the sdist, and the wheel from it; returns the wheel."""
    run([sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT)], cwd=dist.parent)
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    wanted = {f"hpcpipe/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    missing = (wanted | {"hpcpipe/sbatch/worker.sbatch"}).difference(names)
    if missing:
        sys.exit(f"the wheel lacks {', '.join(sorted(missing))}")
    return wheel


def install(wheel: Path, venv: Path) -> Path:
    """Install the wheel and nothing but what it asks for; returns the folder of commands."""
    run([sys.executable, "-m", "venv", str(venv)], cwd=venv.parent)
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, str(wheel), "-c", str(ROOT / "constraints.txt")], cwd=venv.parent)
    return venv / "bin"


def use(bin_folder: Path, folder: Path) -> None:
    """Run the installed commands in a folder that has nothing to do with the checkout."""
    folder.mkdir()
    make_shards(folder / "shards", num_shards=1, num_samples=NUM_SAMPLES)
    make_edits(folder / "shards", folder / "edits")
    command, python = str(bin_folder / "hpcpipe"), str(bin_folder / "python")
    expect("usage", run([command, "--help"], cwd=folder))
    expect("reshard", run([command, "stages"], cwd=folder))
    reshard = ["stage=reshard", "stage.input=shards/*.tar", "stage.edits=edits", "stage.output=out"]
    run([command, *reshard], cwd=folder)
    expect("reshard", run([python, "-m", "hpcpipe", "status"], cwd=folder))
    before, after = (read_shard(folder / name / "00000.tar") for name in ("shards", "out"))
    for key, sample in before.items():
        edits = (folder / "edits" / "00000").glob(f"{key}.*")
        sample |= {path.suffix[1:]: path.read_bytes() for path in edits}
    if before != after or len(after) != NUM_SAMPLES:
        sys.exit("the installed hpcpipe made a wrong shard")


def run(command: list[str], cwd: Path) -> str:
    """Run a command and return its output; exits with it where the command fails."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        sys.exit(f"$ {' '.join(command)}\n{done.stdout}\nexit code {done.returncode}")
    return done.stdout


def expect(wanted: str, text: str) -> None:
    """Exit where a text is not in an output."""
    if wanted not in text:
        sys.exit(f"expected {wanted!r} in:\n{text}")


if __name__ == "__main__":
    main()
