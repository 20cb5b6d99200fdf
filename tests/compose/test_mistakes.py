"""Mistakes in files, places and names: one line that says what, where and what to do."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hpcpipe.__main__ import main
from hpcpipe.compose import conf_files
from hpcpipe.compose.api import compose_run
from hpcpipe.config import from_omegaconf
from hpcpipe.errors import ConfigError
from tests.compose.launcher import launcher
from tests.user_project import project

__all__ = ["launcher", "project"]


MINE = ["stage=lines", "stage.input=x", "site=mine"]


def site_file(project: Path, content: str | bytes) -> Path:
    file = project / "conf" / "site" / "mine.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "partition: [cpu\naccount: x\n",
            ", line 2: expected ',' or ']', but got ':', while parsi",
        ),
        ("account: x\npartition: a: b\n", ", line 2: mapping values are not allowed here"),
        ("qos: x\nqos: y\n", ", line 2: found duplicate key qos"),
        ("a: 1\n\tqos: x\n", ", line 2: found character '\\t' that cannot start any token"),
        ("qos: !!python/object:x.Y {}\n", ", line 1: could not determine a constructor"),
        ("qos: *none\n", ", line 1: found undefined alias 'none'"),
        ("qos: a\x00\n", ": unacceptable character #x0000"),
        (b"account: x\nqos: \xff\n", ", line 2: not UTF-8"),
        ("qos: ${foo\n", ": qos: no viable alternative at input '${foo'"),
        ("slurm: &x {a: *x}\n", ": a value contains itself"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(
    project, launcher, capsys, content, message
):
    file = site_file(project, content)
    site_file(project, content).with_name("unused.yaml").write_text("also: [broken")
    assert main(MINE) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {file}{message}")
    assert len(shown.splitlines()) == 1
    with pytest.raises(ConfigError, match=str(file)):
        compose_run("lines", input="x", overrides=["site=mine"])


@pytest.mark.parametrize("defaults", ["nope", "[nope]", "[{a: b, c: d}]"])
def test_a_file_whose_defaults_are_wrong_is_named(project, launcher, capsys, defaults):
    file = site_file(project, f"defaults: {defaults}\n")
    assert main(MINE) == 2
    shown = capsys.readouterr().err
    assert str(file) in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("args", [["--help"], ["stages"], ["stage=lines", "--help"]])
def test_help_is_shown_even_for_a_file_that_cannot_be_read(project, capsys, args):
    with (project / "conf" / "stage" / "lines.yaml").open("ab") as file:
        file.write(b"# \xff\n")
    (project / "conf" / "stage" / "dangling.yaml").symlink_to("nowhere")
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "lines" in shown
    assert "dangling" not in shown


def test_help_of_a_stage_shows_the_options_of_its_groups(project, capsys):
    with (project / "conf" / "stage" / "lines.yaml").open("a") as file:
        file.write(
            "limits:  # what is too much\n  lines: 3  # in a file\n  words_in_one_line_at_most: 4\n"
        )
    assert main(["stage=lines", "--help"]) == 0
    shown = capsys.readouterr().out.splitlines()
    first = shown.index("  limits: what is too much")
    assert [line.split() for line in shown[first + 1 : first + 4]] == [
        ["stage.limits.lines=3", "in", "a", "file"],
        ["stage.limits.words_in_one_line_at_most=4"],
        [],
    ]


def test_a_site_file_may_leave_keys_out(project, launcher):
    site_file(project, "partition: cpu\n")
    assert main([*MINE, "site.account=me", "site.slurm.comment=hi"]) == 0
    site = launcher.configs[0].site
    assert (site.partition, site.account, site.qos) == ("cpu", "me", None)
    assert (site.setup, site.slurm) == ([], {"comment": "hi"})
    again = from_omegaconf(OmegaConf.create(stored_part(launcher.configs[0].text)), "lines")
    assert again.site == site


def stored_part(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("stage_name:"))


def test_keys_of_a_site_may_have_all_their_lines_commented_out(project, launcher):
    site_file(project, "setup:\n  # - module load x\nslurm:\n  # mem: null\n")
    assert main([*MINE]) == 0
    assert (launcher.configs[0].site.setup, launcher.configs[0].site.slurm) == ([], {})


def test_an_empty_site_file_is_a_site(project, launcher):
    site_file(project, "# nothing yet\n")
    assert main(MINE) == 0
    assert launcher.configs[0].site.partition is None


def test_unknown_keys_of_a_site_are_refused(project, launcher, capsys):
    site_file(project, "partiton: cpu\n")
    assert main(MINE) == 2
    assert "site.partiton: no such option (did you mean partition?)" in capsys.readouterr().err
    site_file(project, "partition: cpu\n")
    assert main([*MINE, "site.partiton=cpu"]) == 2
    assert "site.partiton: no such option (did you mean partition?)" in capsys.readouterr().err


def test_the_example_site_needs_but_partition_and_account(project, launcher):
    example = conf_files.main_dir() / "site" / "example.yaml"
    site_file(project, example.read_text())
    assert main([*MINE, "site.partition=cpu", "site.account=me"]) == 0
    site = launcher.configs[0].site
    assert (site.qos, site.setup, site.slurm) == (None, [], {})


@pytest.mark.parametrize("name", ["/tmp/x", "./mine", "sub/mine"])
def test_a_path_in_place_of_a_name_is_told_where_names_are_looked_up(
    project, launcher, capsys, name
):
    assert main(["stage=lines", "stage.input=x", f"site={name}"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: site={name}: a name is wanted, not a path: site=NAME reads ")
    assert f"{project}/conf/site, {Path.home()}/.config/hpcpipe/site" in shown
    assert "there are: default, example" in shown
    assert len(shown.splitlines()) == 1


def test_a_choice_that_is_not_there_names_the_folders(
    project, launcher, capsys, monkeypatch, tmp_path
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HPCPIPE_CONF", str(project / "conf"))
    assert main(MINE) == 2
    shown = capsys.readouterr().err
    assert "site=mine: no such site; there are: default, example (looked in " in shown
    for folder in (Path.cwd() / "conf", project / "conf", conf_files.main_dir()):
        assert str(folder / "site") in shown


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("input=x", "input: no such option (did you mean stage.input?); there are: run_name"),
        ("+input=x", "input: no such option (did you mean stage.input?); there are: stage"),
        ("mode=words", "did you mean stage.mode?"),
        ("lease_s=9", "did you mean run.lease_s?"),
        ("partition=cpu", "did you mean site.partition?"),
        ("slurm=1", "did you mean site.slurm or launcher.slurm?"),
        ("inptu=x", "did you mean stage.input?"),
        ("run_nmae=x", "did you mean run_name?"),
        ("stage.lease_s=9", "did you mean run.lease_s?"),
        ("run.limit=9", "did you mean limit?"),
    ],
)
def test_an_option_in_the_wrong_place_is_told_the_right_one(
    project, launcher, capsys, override, hint
):
    assert main(["stage=lines", "stage.input=x", override]) == 2
    shown = capsys.readouterr().err
    assert hint in shown
    assert len(shown.splitlines()) == 1


def test_an_unknown_flag_lists_all_flags(project, capsys):
    assert main(["stage=lines", "-n"]) == 2
    shown = capsys.readouterr().err
    assert "-n: no such flag" in shown
    for flag in ("-m", "--multirun", "--cfg", "--help", "--version"):
        assert flag in shown
    assert "Options have no dashes: KEY=VALUE" in shown


@pytest.mark.parametrize("key", ["stage.input", "stage.output", "run_dir", "paths.runs"])
def test_empty_places_are_refused_before_anything_is_made(project, launcher, capsys, key):
    before = sorted(project.rglob("*"))
    assert main(["stage=lines", "stage.input=x", f"++{key}="]) == 2
    assert f"error: {key} is empty (an unset variable?)" in capsys.readouterr().err
    assert launcher.configs == []
    assert [path for path in sorted(project.rglob("*")) if "__pycache__" not in str(path)] == before


def test_new_keys_of_a_mapping_are_told_how_to_be_added(project, launcher, capsys):
    asked = ["stage=rewrite_captions", "stage.input=x", "stage.options={max_tokens: 60}"]
    assert main(asked) == 2
    message = (
        "stage.options: keys of a mapping are changed one by one: stage.options.KEY=VALUE; new "
        "ones are added by +stage.options.KEY=VALUE, and one is taken away by '~stage.options.KEY'"
    )
    assert message in capsys.readouterr().err
