"""The stage that CONTRIBUTING.md shows runs as it is printed there."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.data.make_shards import read_shard

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def _block(language: str) -> str:
    section = TEXT[TEXT.index("## Add a stage") : TEXT.index("## House rules")]
    (block,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return block


def test_the_example_stage_runs(photo_shards, tmp_path):
    (tmp_path / "captions.py").write_text(_block("python"))
    (tmp_path / "conf" / "stage").mkdir(parents=True)
    (tmp_path / "conf" / "stage" / "captions.yaml").write_text(_block("yaml"))
    (tmp_path / "shards").symlink_to(photo_shards.shards)
    command = _block("bash").replace("python", sys.executable, 1)
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in photo_shards.paths:
        lines = (tmp_path / "captions" / f"{path.stem}.jsonl").read_text().splitlines()
        rows = {row["key"]: row["caption"] for row in map(json.loads, lines)}
        assert rows == {key: sample["txt"].decode() for key, sample in read_shard(path).items()}


def test_the_example_stage_is_short():
    assert len(_block("python").splitlines()) <= 36


def test_every_folder_shown_is_there():
    tree = TEXT[TEXT.index("## Where things are") : TEXT.index("Imports run one way")]
    names = re.findall(r"^(  )?(\w+)/(?= |$)", tree, re.MULTILINE)
    parent, paths = "", []
    for indent, name in names:
        parent = parent if indent else name
        paths.append(f"{parent}/{name}" if indent else name)
    assert len(paths) > 10
    root = Path(__file__).parents[1]
    assert [path for path in paths if not (root / path).is_dir()] == []
