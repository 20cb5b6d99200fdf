"""The command line as a user meets it: help, verbs, exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcpipe.__main__ as command
from hpcpipe.errors import HpcPipeError, UpstreamIncompleteError
from tests.user_project import project

__all__ = ["project"]


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hpcpipe", *args],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_help_names_verbs_stages_and_common_options(project):
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    shown = " ".join(done.stdout.split())
    for text in ["retry make", "lines Count the lines of text files.", "run_name=null", "-m,"]:
        assert text in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys, hpcpipe.__main__ as m; m.main(['--help']);"
        "print([n for n in sys.modules if n in ('hydra', 'omegaconf', 'numpy', 'yaml')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_arguments_the_help_goes_to_stderr(project):
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: hpcpipe")


@pytest.mark.parametrize("args", [("stage=lines", "--help"), ("-h", "stage=lines", "-m")])
def test_a_stages_options_are_shown_with_their_comments(project, capsys, args):
    assert command.main(list(args)) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("stage=lines: Count the lines of text files.\n")
    assert "stage.input=VALUE (required)  text files\n" in shown
    assert "stage.size_bytes=1GiB         how large a file may be\n" in shown
    assert "_target_" not in shown
    assert "resources" not in shown.partition("common options")[0]


def test_help_shows_the_options_of_groups_within_groups_and_lists(project, capsys):
    file = project / "conf" / "stage" / "lines.yaml"
    more = (
        "steps: 2  # how often\n"
        "servers:  # who helps\n"
        "  urls:  # where\n    - http://a:1\n    - http://b:2\n"
        "  start:  # or by a command\n    command: null  # which\n"
        f"skip:\n  - {'x' * 40}\n  - {'y' * 40}\n"
    )
    file.write_text(file.read_text() + more)
    assert command.main(["stage=lines", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in [
        "stage.steps=2 how often",
        "servers: who helps",
        "stage.servers.urls=[http://a:1, http://b:2] where",
        "start: or by a command stage.servers.start.command=null which",
        f"stage.skip=[{'x' * 40}, ...]",
    ]:
        assert text in shown


def test_help_of_a_stage_that_builds_on_another_has_the_options_of_both(project, capsys):
    folder = project / "conf" / "stage"
    with (folder / "lines.yaml").open("a") as file:
        file.write("limits:  # what is too much\n  low: 1  # at least\n")
    (folder / "words.yaml").write_text(
        "# Count words.\ndefaults:\n  - lines  # and more\n  - _self_\n"
        "mode: words\nthreads: 4  # many\nlimits:\n  high: 9\n"
    )
    (folder / "few.yaml").write_text("# Few.\ndefaults: [words, few]\nscale: 2\n")
    assert command.main(["stage=few", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.partition("common options")[0].split())
    assert "stage.input=VALUE (required) text files stage.output=null" in shown
    assert "stage.mode=words lines | words stage.threads=4 many stage.scale=2 factor" in shown
    assert "limits: what is too much stage.limits.low=1 at least stage.limits.high=9" in shown


def test_help_for_a_stage_that_is_not_there(project, capsys):
    assert command.main(["stage=lnies", "--help"]) == 2
    assert "stage=lnies: no such stage (did you mean lines?)" in capsys.readouterr().err


def test_stages_lists_the_users_own_first_file_of_a_name(project, capsys, tmp_path, monkeypatch):
    shared = tmp_path / "shared" / "stage"
    shared.mkdir(parents=True)
    (shared / "lines.yaml").write_text("# Hidden by ./conf\n_target_: x.Y\n")
    (shared / "other.yaml").write_text("_target_: x.Y\n")
    monkeypatch.setenv("HPCPIPE_CONF", str(shared.parent))
    assert command.main(["stages"]) == 0
    rows = dict(line.partition(" ")[::2] for line in capsys.readouterr().out.splitlines())
    assert rows["lines"].strip() == "Count the lines of text files."
    assert rows["other"] == ""


def test_every_verb_module_is_listed_in_the_help():
    folder = Path(command.__file__).parent / "cli"
    modules = {file.stem for file in folder.glob("*.py") if "def main(argv" in file.read_text()}
    found = {name.replace("_", "-") for name in modules}
    assert "stages" in found
    assert found <= set(command.VERBS)


def test_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hpcpipe 0.")


class Failing:
    """A verb that raises what it is given."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def main(self, argv: list[str]) -> int:
        raise self.error


@pytest.fixture
def failing(monkeypatch):
    def set_error(error: BaseException) -> int:
        monkeypatch.setitem(sys.modules, "hpcpipe.cli.stages", Failing(error))
        return command.main(["stages"])

    return set_error


def test_errors_are_one_message_and_their_exit_code(failing, capsys):
    assert failing(HpcPipeError("stage.x: wrong")) == 2
    assert capsys.readouterr().err == "error: stage.x: wrong\n"
    assert failing(UpstreamIncompleteError("not yet")) == 4
    assert failing(KeyboardInterrupt()) == 130
    assert failing(PermissionError(13, "Permission denied", "/data")) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_debug_adds_the_traceback(failing, capsys, monkeypatch):
    monkeypatch.setenv("HPCPIPE_DEBUG", "1")
    assert failing(HpcPipeError("stage.x: wrong")) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_called_a_bug(failing, capsys):
    assert failing(ZeroDivisionError("division")) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: division" in shown
    assert shown.splitlines()[-1].startswith("error: this is a bug in hpcpipe")


def test_a_python_that_hpcpipe_is_not_installed_for(tmp_path):
    """The system's Python in a clone finds the package and none of what it needs."""
    (tmp_path / "hpcpipe").symlink_to(Path(command.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "hpcpipe", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{sys.executable} lacks msgspec, which hpcpipe needs" in done.stderr
    assert "source .venv/bin/activate" in done.stderr


def test_a_closed_pipe_is_no_error(project):
    command_line = f"{sys.executable} -m hpcpipe --help | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command_line], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("u0\n", "")
