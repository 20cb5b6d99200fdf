"""The command that status and retry show to go on with."""

import os
import subprocess
import sys

import pytest

from hpcpipe.cli.go_on import launched
from tests.cli.runs import verb
from tests.user_project import project

__all__ = ["project"]


def test_the_command_that_launched_it_is_shown(project, capsys):
    """Pasted into a shell, it must go on with the same run."""
    (project / "in").mkdir()
    for name in ("a b", "c"):
        (project / "in" / f"{name}.txt").write_text("x\n")
    options = ["limit=1", 'stage.input="in/*.txt"', "stage.scale=0.5"]
    subprocess.run([sys.executable, "-m", "hpcpipe", "stage=lines", *options], check=True)
    (run_dir,) = (project / "runs" / "lines").iterdir()
    capsys.readouterr()
    assert verb("status", run_dir) == 0
    shown = capsys.readouterr().out
    command = next(line for line in shown.splitlines() if line.startswith("go on")).split(None, 2)[
        2
    ]
    assert command == """python -m hpcpipe stage=lines 'stage.input="in/*.txt"' stage.scale=0.5"""
    command = command.replace("python", sys.executable, 1)
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    assert "(resumed)" in done.stdout
    assert "complete: 2 done" in done.stdout
    assert verb("retry", run_dir, "--all") == 0
    capsys.readouterr()
    os.chdir("/")
    assert verb("status", run_dir) == 0
    assert f"cd {project} && python -m hpcpipe stage=lines" in capsys.readouterr().out


def test_the_runs_folder_that_a_script_chose_is_named(project, capsys, monkeypatch):
    """Without stage.output nothing else leads to the run."""
    monkeypatch.delenv("HPCPIPE_RUNS", raising=False)
    (project / "in").mkdir()
    for name in ("a", "b"):
        (project / "in" / f"{name}.txt").write_text("x\n")
    command = [sys.executable, "-m", "hpcpipe", "stage=lines", "stage.input=in", "limit=1"]
    subprocess.run(command, env={**os.environ, "HPCPIPE_RUNS": "its runs"}, check=True)
    (run_dir,) = (project / "its runs" / "lines").iterdir()
    assert verb("status", run_dir) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("go on")]
    typed = f"HPCPIPE_RUNS='{project}/its runs' python -m hpcpipe stage=lines stage.input=in"
    assert line == f"go on      {typed}"
    typed = typed.replace("python", sys.executable)
    done = subprocess.run(typed, shell=True, check=True, capture_output=True, text=True)
    assert "(resumed)" in done.stdout
    monkeypatch.setenv("HPCPIPE_RUNS", "its runs")
    assert "HPCPIPE_RUNS=" not in launched(os.getcwd(), ["stage=lines"], run_dir)
    assert "HPCPIPE_RUNS=" not in launched(str(project), ["stage=lines"], run_dir)
    monkeypatch.chdir("/")
    assert "HPCPIPE_RUNS=" not in launched(str(project), ["stage=lines"], run_dir)
    monkeypatch.delenv("HPCPIPE_RUNS")
    assert "HPCPIPE_RUNS=" in launched(str(project), ["stage=lines"], run_dir)
    assert "HPCPIPE_RUNS=" not in launched(str(project), ["stage=lines", "run_dir=x"], run_dir)


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("stage.threads=2", "stage.threads=2"),
        ("stage.input=in/*.txt", "'stage.input=in/*.txt'"),
        ("stage.input='in/*.txt'", "\"stage.input='in/*.txt'\""),
        ("stage.input='$HOME'", "'stage.input='\"'\"'$HOME'\"'\"''"),
    ],
)
def test_a_shown_command_has_the_quotes_that_a_person_would_take(word, quoted, tmp_path):
    assert launched(os.getcwd(), [word], tmp_path) == f"go on      python -m hpcpipe {quoted}"
