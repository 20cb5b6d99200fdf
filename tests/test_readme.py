"""What the README shows works as it is printed there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.__main__ import VERBS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def commands(section: str) -> list[str]:
    """Commands of the shell blocks of a section, continued lines joined."""
    text = TEXT[TEXT.index(f"## {section}") :]
    text = text[: text.index("\n## ", 5)]
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def run(command: str, folder: Path, env: dict[str, str] | None = None) -> str:
    command = command.replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
        command, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_five_minutes(photo_shards, tmp_path):
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "shards").symlink_to(photo_shards.shards)
    outputs = [run(command, tmp_path) for command in commands("Five minutes")]
    assert "reshard" in outputs[0]
    assert "complete: 1 done" in outputs[2]
    assert "complete: 3 done" in outputs[3]
    assert "3 of 3 done" in outputs[4]
    assert "nothing wrong" in outputs[5]


@pytest.mark.parametrize("section", ["Your cluster", "Reshard"])
def test_other_commands_work_on_this_machine(section, photo_shards, tmp_path):
    """With the paths of the example and the launcher replaced."""
    (tmp_path / "shards").symlink_to(photo_shards.shards)
    (tmp_path / "edits").symlink_to(photo_shards.edits)
    keys = [f"{shard:05d}{index:04d}" for shard in range(3) for index in range(0, 20, 2)]
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"key": keys}), tmp_path / "keep.parquet")
    (tmp_path / "conf" / "site").mkdir(parents=True)
    example = (ROOT / "conf" / "site" / "example.yaml").read_text()
    (tmp_path / "conf" / "site" / "mine.yaml").write_text(example)
    for command in commands(section):
        here = (
            command.replace("/data", str(tmp_path)).replace("-m wait=true", "").removesuffix(" -m")
        )
        here = here.replace("launcher.array_size=128", "")
        assert "complete" in run(here, tmp_path), command


def test_a_pipeline_of_ones_own_and_the_one_that_comes_with_it(photo_shards, tmp_path):
    (tmp_path / "shards").symlink_to(photo_shards.shards)
    (text,) = re.findall(r"```yaml\n(# Tars.*?)```", TEXT, re.DOTALL)
    (tmp_path / "conf" / "pipeline").mkdir(parents=True)
    (tmp_path / "conf" / "pipeline" / "mine.yaml").write_text(text)
    *_, command = commands("Pipelines")
    command = command.replace("/data", str(tmp_path)).replace(" -m wait=true", "")
    assert run(command, tmp_path).count("complete: ") == 2
    mine = command.replace("=repack", "=mine").replace("/packed", "/mine")
    assert run(mine, tmp_path).count("complete: ") == 2
    assert len(list((tmp_path / "mine" / "shards").glob("*.tar"))) == 1


def test_the_python_call(photo_shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    code = code.replace("/data/shards/*.tar", str(photo_shards.shards))
    code = code.replace("/data/edits", str(photo_shards.edits))
    assert "complete: 3 done" in run(f"{sys.executable} -c '{code}'", tmp_path)


def test_every_verb_is_explained():
    for verb in VERBS:
        assert f"`{verb} " in TEXT or f"hpcpipe {verb}" in TEXT
