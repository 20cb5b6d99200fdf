import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from hpcpipe.config import CONFIG_FILE, Config, LocalLauncher, SlurmLauncher, from_omegaconf, load
from hpcpipe.errors import ConfigError
from tests.user_project import project

__all__ = ["project"]

CONF = Path(__file__).parents[2] / "conf"


def composed(*overrides: str) -> DictConfig:
    cfg = OmegaConf.load(CONF / "config.yaml")
    for group, name in {"resources": "cpu", "site": "default", "launcher": "slurm"}.items():
        cfg[group] = OmegaConf.load(CONF / group / f"{name}.yaml")
    cfg.stage = OmegaConf.load("conf/stage/lines.yaml")
    for key in ("defaults", "hydra"):
        del cfg[key]
    del cfg.stage["defaults"]
    merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(merged, DictConfig)
    return merged


def make(*overrides: str) -> Config:
    return from_omegaconf(composed(*overrides), "lines")


def test_values_are_typed_and_paths_absolute(project, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = make("stage.input=[data/*.txt,s3://bucket/x,~/y/]", "stage.folders.a=b/../c")
    assert config.stage.input == [f"{project}/data/*.txt", "s3://bucket/x", "/home/someone/y"]
    assert config.stage.folders == {"a": f"{project}/c"}
    assert config.stage.size_bytes == 2**30
    assert config.stage.scale == 1.0
    assert isinstance(config.launcher, SlurmLauncher)
    assert config.run.lease_s == 180.0
    assert config.stage.output is None
    assert config.output == f"{config.run_dir}/out"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file:///data/x", "/data/x"),
        ("{/a,/b}/*.txt", "{/a,/b}/*.txt"),
        ("/a//b/{000..127}.txt", "/a/b/{000..127}.txt"),
        ("https://host/a?b=c", "https://host/a?b=c"),
    ],
)
def test_globs_and_urls_stay_what_they_are(project, text, expected):
    cfg = composed()
    cfg.stage.input = text
    assert from_omegaconf(cfg, "lines").stage.input == expected


@pytest.mark.parametrize(
    ("size", "num_bytes"), [("500MB", 500_000_000), ("1.5kB", 1500), ("2TiB", 2**41), ("7B", 7)]
)
def test_sizes_have_units(project, size, num_bytes):
    assert make("stage.input=x", f"stage.size_bytes={size}").stage.size_bytes == num_bytes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.size_bytes=abc", "stage.size_bytes: expected int or null, got str 'abc'"),
        ("stage.size_bytes=3 GB/s", "stage.size_bytes: expected int or null, got str '3 GB/s'"),
        ("stage.size_bytes=0.3KiB", "stage.size_bytes: 0.3KiB is no whole number of bytes"),
        ("stage.size_bytes=0.0001kB", "stage.size_bytes: 0.0001kB is no whole number of bytes"),
        ("stage.mode=letters", "stage.mode: expected lines or words, got str 'letters'"),
        ("stage.scale=null", "stage.scale: expected float, got null"),
        ("stage.threads=true", "stage.threads: expected int, got bool True"),
        ("stage.input=12", "'stage.input=\"12\"'"),
        ("stage.input=[a,12]", "stage.input[1]: expected str, got int 12"),
        ("stage.folders=3", "stage.folders: expected a mapping, got int 3"),
        ("stage.folders.a=3", "stage.folders: an entry of it is wrong: expected str, got int"),
        ("stage.treads=3", "stage.treads: no such option (did you mean threads?); there are:"),
        ("stage.input=???", "stage.input is required: add stage.input=VALUE"),
        ("stage.input=''", "stage.input is empty (an unset variable?)"),
        ("stage.output=''", "stage.output is empty (an unset variable?)"),
        ("run_dir=''", "run_dir is empty (an unset variable?)"),
        ("paths.runs=''", "paths.runs is empty (an unset variable?)"),
        ("paths.code=''", "paths.code is empty (an unset variable?)"),
        ("run.scratch=''", "run.scratch is empty (an unset variable?)"),
        ("paths.runs=s3://b/runs", "paths.runs is a URL (s3://...): run directories need a file"),
        ("paths.runs=s3://b/runs", "set HPCPIPE_RUNS to a folder there"),
        ("run_dir=s3://b/runs/x", "run_dir is a URL (s3://...): run directories need a file"),
        ("paths.code=https://x/y", "paths.code is a URL (https://...): give a folder"),
        ("run.scratch=s3://b/x", "run.scratch is a URL (s3://...): give a folder"),
        ("stage.input=[a,'']", "stage.input[1] is empty (an unset variable?)"),
        ("stage.folders.a=''", "stage.folders.a is empty (an unset variable?)"),
        ("stage.input=${oc.env:NO_SUCH}", "the environment variable NO_SUCH is not set"),
        ("stage.input=${nothing}", "stage.input refers to nothing, and there is no such option"),
        ("stage.input=${run_name}", "give run_name=VALUE too"),
        ("stage.input=${stage.output}", "give stage.output=VALUE too"),
        ("stage._target_=nowhere.X", "there is no module nowhere for nowhere.X"),
        ("stage._target_=line_stage.X", "the module has no X"),
        ("stage._target_=pathlib.Path", "pathlib.Path is not a stage"),
        ("stage._target_=Lines", "expected package.module.Class, got 'Lines'"),
        ("run.max_attempts=0", "run.max_attempts: must be >= 1, got 0"),
        ("run.heartbeat_s=0", "run.heartbeat_s: must be > 0.0, got 0"),
        ("run.lease_s=20", "run.lease_s=20 is less than 2 times run.heartbeat_s=15"),
        ("run.checksum=md5", "run.checksum: expected xxh3_128 or sha256, got str 'md5'"),
        ("run=3", "run: expected a mapping, got int 3"),
        ("extend=maybe", "extend: expected true or false, got str 'maybe'"),
        ("limit=0", "limit: must be >= 1, got 0"),
        ("launcher.kind=pbs", "launcher.kind: expected slurm or local or script or spark, got"),
        ("site.partiton=x", "site.partiton: no such option (did you mean partition?)"),
        ("colour=red", "colour: no such option; there are: stage, launcher,"),
        ("run_name=a/b", "run_name: 'a/b' cannot name a folder and a job"),
        ("run_name=..", "run_name: '..' cannot name a folder and a job"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(project, override, message):
    with pytest.raises(ConfigError) as caught:
        make("stage.input=x", override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_named_at_once(project):
    with pytest.raises(ConfigError) as caught:
        make("stage.mode=x", "stage.scale=y")
    assert [line.split(":")[0].split(" ")[0] for line in str(caught.value).splitlines()] == [
        "stage.input",
        "stage.mode",
        "stage.scale",
    ]


def test_a_broken_module_of_the_users_is_named(project):
    (project / "line_stage.py").write_text("import no_such_thing")
    with pytest.raises(ConfigError, match=r"line_stage needs no_such_thing"):
        make("stage.input=x")
    (project / "line_stage.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"importing line_stage failed: ZeroDivisionError"):
        make("stage.input=x")


def test_a_stages_own_check_is_heard(project):
    code = (project / "line_stage.py").read_text()
    check = "    def __post_init__(self):\n        raise ValueError('words need a scale')\n"
    (project / "line_stage.py").write_text(code.replace("    def plan(", f"{check}    def plan("))
    with pytest.raises(ConfigError, match="stage: words need a scale"):
        make("stage.input=x")


def test_tuning_and_a_defaulted_output_stay_out_of_the_fingerprint(project, monkeypatch):
    base = make("stage.input=x")
    assert make("stage.input=x", "stage.threads=9", "run_name=b").fingerprint == base.fingerprint
    assert make("stage.input=./x", "run.lease_s=60").fingerprint == base.fingerprint
    assert make("stage.input=y").fingerprint != base.fingerprint
    assert make("stage.input=x", "stage.mode=words").fingerprint != base.fingerprint
    named = make("stage.input=x", "stage.output=/out")
    assert named.fingerprint != base.fingerprint
    assert named.core_fingerprint == base.core_fingerprint == base.fingerprint
    monkeypatch.chdir(project.parent)
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    cfg = composed_elsewhere(project, f"stage.input={project}/x")
    assert from_omegaconf(cfg, "lines").fingerprint == base.fingerprint


def composed_elsewhere(project: Path, *overrides: str) -> DictConfig:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return composed(*overrides)


def test_run_directories_are_named_by_what_they_are(project):
    runs = f"{project}/runs/lines"
    plain = make("stage.input=x")
    assert plain.run_dir == f"{runs}/{plain.fingerprint[:8]}"
    named = make("stage.input=x", "run_name=first")
    assert named.run_dir == f"{runs}/first-{named.fingerprint[:8]}"
    placed = make("stage.input=x", "stage.output=/out/${run_name}")
    assert placed.run_dir == f"{runs}/{placed.core_fingerprint[:8]}-{placed.fingerprint[:8]}"
    assert placed.output == f"/out/{placed.core_fingerprint[:8]}"
    assert (placed.output_given, plain.output_given) == (True, False)
    given = make("stage.input=x", "run_dir=here/${run_name}", "run_name=me")
    assert (given.run_dir, given.run_dir_given) == (f"{project}/here/me", True)


def test_runs_go_where_the_environment_says(project, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", "/lustre/runs")
    assert make("stage.input=x").run_dir.startswith("/lustre/runs/lines/")


def stored(config: Config, folder: Path) -> Path:
    folder.mkdir()
    (folder / CONFIG_FILE).write_text(config.text)
    return folder


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("stage.output=out/${run_name}", "run_name=me"),
        ("stage.folders.a=${oc.env:SOME_TOKEN}/x", "stage.folders.b=~/${oc.env:SOME_TOKEN}"),
        ("stage.scale=${oc.decode:${oc.env:SOME_NUMBER}}", "stage.folders.c=${stage.scale}x"),
        ("launcher.slurm.comment=${oc.env:SOME_TOKEN}", "site.setup=['echo \\${HOME}']"),
        ("stage.folders.a=\\${literal}",),
    ],
)
def test_what_is_stored_makes_the_same_config_again(project, monkeypatch, tmp_path, overrides):
    monkeypatch.setenv("SOME_TOKEN", "very-secret")
    monkeypatch.setenv("SOME_NUMBER", "2.5")
    config = make("stage.input=data", *overrides)
    folder = stored(config, tmp_path / "moved")
    assert "very-secret" not in config.text
    assert OmegaConf.create(config.text).stage._target_ == "line_stage.Lines"
    monkeypatch.chdir(tmp_path)
    again = load(folder)
    assert (again.stage, again.fingerprint) == (config.stage, config.fingerprint)
    assert (again.launcher, again.site, again.run) == (config.launcher, config.site, config.run)
    assert (again.run_name, again.stage_options) == (config.run_name, config.stage_options)
    assert again.run_dir == str(folder)
    assert again.output == (config.output if config.output_given else f"{folder}/out")


def test_a_literal_dollar_brace_survives(project, tmp_path):
    config = make("stage.input=x", "site.setup=['echo \\${HOME}']")
    assert config.site.setup == ["echo ${HOME}"]
    assert load(stored(config, tmp_path / "run")).site.setup == ["echo ${HOME}"]


def test_a_folder_without_a_config_is_no_run(project, tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run directory: .*No such file"):
        load(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("a: 1")
    with pytest.raises(ConfigError, match="is not the configuration of a run"):
        load(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("stage: {a: [1\n")
    with pytest.raises(ConfigError, match=rf"{tmp_path}/config.yaml, line 2: expected"):
        load(tmp_path)


def test_the_launcher_is_chosen_by_its_kind(project):
    cfg = composed("stage.input=x")
    cfg.launcher = {"kind": "local", "num_workers": 3}
    assert from_omegaconf(cfg, "lines").launcher == LocalLauncher(kind="local", num_workers=3)


def test_composed_values_are_left_alone(project):
    cfg = composed("stage.input=x", "stage.output=out")
    before = OmegaConf.to_yaml(cfg)
    from_omegaconf(cfg, "lines")
    assert OmegaConf.to_yaml(cfg) == before


def test_importing_the_config_is_cheap():
    code = "import hpcpipe.config, sys; print([m for m in sys.modules if m in HEAVY])"
    heavy = ("hydra", "omegaconf", "numpy", "pyarrow", "submitit", "fsspec", "yaml")
    code = code.replace("HEAVY", repr(heavy))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
