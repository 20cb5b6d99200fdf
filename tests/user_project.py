"""A user's own folder with a stage outside the package, for the tests of the command line."""

import sys
from pathlib import Path

import pytest

CODE = '''
from dataclasses import dataclass
from typing import Any, Literal

from hpcpipe.stage import Location, PlanContext, Shard, ShardContext, Stage, TuningInt


@dataclass(frozen=True, kw_only=True)
class Lines(Stage):
    """Counts the lines of text files."""

    size_bytes: int | None
    mode: Literal["lines", "words"]
    threads: TuningInt
    scale: float
    folders: dict[str, Location]

    def plan(self, ctx: PlanContext):
        for file in ctx.list_inputs(self.input, (".txt",)):
            yield Shard(id=file.path.rpartition("/")[2], inputs=(file,))

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        with open(shard.inputs[0].path, "rb") as file:
            count = file.read().count(b"\\n")
        ctx.output(shard.id + ".count").write(str(count).encode())
        ctx.count("num_lines", count)
'''

YAML = """\
# Count the lines of text files.
defaults:
  - override /resources@_global_.resources: gpu

_target_: line_stage.Lines
input: ???         # text files
output: null       # folder of counts
size_bytes: 1GiB   # how large
                   # a file may be
mode: lines        # lines | words
threads: 2         # readers at a time
scale: 1           # factor
folders: {}        # further folders
"""


def make_project(folder: Path) -> Path:
    """Write ``line_stage.py`` and ``conf/stage/lines.yaml`` into a folder; returns it."""
    (folder / "conf" / "stage").mkdir(parents=True)
    (folder / "line_stage.py").write_text(CODE)
    (folder / "conf" / "stage" / "lines.yaml").write_text(YAML)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder as current folder, with nothing of theirs imported yet."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "line_stage", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HPCPIPE_RUNS", "HPCPIPE_CONF"):
        monkeypatch.delenv(name, raising=False)
    return folder
