"""The commands that go on with a run or a pipeline, to be pasted into a shell."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from hpcpipe.cli.verb import runs_folder, shown
from hpcpipe.manifest.rundir import Launch


def go_on(run_dir: Path | str, launches: Sequence[Launch]) -> list[str]:
    """Say how to work on what is left of a run.

    Args:
        run_dir: the run directory.
        launches: its launches so far.

    Returns:
        Lines with the command that launched it last, and the one to be a worker here.

    Raises:
        ConfigError: a ``config.yaml`` of the user's own is no YAML.
        OSError: it cannot be read.
    """
    known = [launch for launch in launches if launch.command and launch.kind != "work"]
    cwd, command = (known[-1].cwd, known[-1].command) if known else ("", ())
    # A trial of the first few shards is done; what is left is all of them.
    words = [word for word in command if not word.startswith("limit=")]
    worker = f"or here    python -m hpcpipe work {shown(run_dir)}    (one worker)"
    return [launched(cwd, words, Path(run_dir)), worker]


def launched(cwd: str, command: Sequence[str], directory: Path) -> str:
    """Write the command that launched something, so that it finds it again from here.

    Args:
        cwd: the folder it was typed in.
        command: its arguments; none where they are not known.
        directory: the run or pipeline directory.

    Returns:
        A line.

    Raises:
        ConfigError: a ``config.yaml`` of the user's own is no YAML.
        OSError: it cannot be read.
    """
    if not command:
        return "go on      launch it again with the same command"
    folder = "" if cwd == os.getcwd() else f"cd {shlex.quote(cwd)} && "
    setting = _setting(cwd, command, directory.absolute())
    return f"go on      {folder}{setting}python -m hpcpipe {' '.join(map(_quoted, command))}"


def _setting(cwd: str, command: Sequence[str], directory: Path) -> str:
    """The HPCPIPE_RUNS that led there where it is not the one here: a script's, for instance."""
    if any(word.startswith(("run_dir=", "paths.runs=")) for word in command):
        return ""
    there = Path(cwd, os.environ.get("HPCPIPE_RUNS") or "runs")
    usual = runs_folder() if cwd == os.getcwd() else there
    stage = f"stage={directory.parent.name}"
    is_as_made = any(word == stage or word.startswith("pipeline=") for word in command)
    runs = directory.parent.parent
    if not is_as_made or runs.resolve() == usual.resolve():
        return ""
    return f"HPCPIPE_RUNS={shlex.quote(str(runs))} "


def _quoted(word: str) -> str:
    """Quote for a shell, with the quotes that a person would take."""
    is_plain_in_double_quotes = "'" in word and not any(mark in word for mark in '"$`\\!')
    return f'"{word}"' if is_plain_in_double_quotes else shlex.quote(word)
