"""What must not happen: running what others left, storing secrets, steering terminals."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import hpcpipe
from hpcpipe.config import RunOptions
from hpcpipe.config.stored import load_section
from hpcpipe.console import visible
from hpcpipe.errors import BadInputError, ConfigError, PlanError, SetupError
from hpcpipe.formats import samples
from tests.cli.runs import good_run, mixed_run, verb
from tests.toys.runs import run_here, toy_config, write_inputs
from tests.users import ALICE, BOB, LAB, as_user

EVIL = "from pathlib import Path\nPath({mark!r}).write_text('was here')\n"


@pytest.fixture
def planted(tmp_path):
    """A finished run whose stored configurations name code of somebody else's."""
    run_dir = mixed_run(tmp_path)
    code = tmp_path / "theirs"
    code.mkdir()
    (code / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    for path in (run_dir / "config.yaml", *(run_dir / "launches").glob("*.yaml")):
        text = path.read_text()
        text = text.replace("tests.toys.toy.Toy", "evil.Stage")
        text = text.replace("max_attempts: 3", "max_attempts: ${oc.decode:${oc.env:NUM_TRIES,'3'}}")
        lines = [f"  code: {code}" if x.startswith("  code:") else x for x in text.splitlines()]
        path.write_text("\n".join(lines) + "\n")
    (run_dir / "partial").mkdir()
    return run_dir


@pytest.mark.parametrize(
    "args",
    [
        *(("status",), ("status", "--json"), ("logs",), ("verify",), ("verify", "--deep")),
        *(("cancel",), ("retry",), ("clean", "--dry-run"), ("clean",), ("verify", "--requeue")),
    ],
    ids=" ".join,
)
def test_no_verb_about_a_run_imports_what_the_run_names(planted, tmp_path, args):
    name, *options = args
    env = os.environ | {"HPCPIPE_RUNS": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "hpcpipe", name, str(planted), *options]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (0, 3, 4), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mark").exists()
    if name == "status":
        listed = subprocess.run(command[:4], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert "toy" in listed.stdout
        assert not (tmp_path / "mark").exists()


def test_an_input_folder_does_not_choose_what_is_imported(tmp_path):
    (tmp_path / "other").mkdir()
    upstream = good_run(tmp_path / "other", stage__output=str(tmp_path / "in"))
    code = tmp_path / "theirs"
    code.mkdir()
    (code / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    for path in (upstream / "config.yaml", *(upstream / "launches").glob("*.yaml")):
        text = path.read_text().replace("tests.toys.toy.Toy", "evil.Stage")
        lines = [f"  code: {code}" if x.startswith("  code:") else x for x in text.splitlines()]
        path.write_text("\n".join(lines) + "\n")
    assert run_here(toy_config(tmp_path)).exit_code == 0
    assert not (tmp_path / "mark").exists()


def test_another_users_stage_is_not_imported_to_clean_a_folder_shared_with_it(tmp_path):
    folder = tmp_path / "shared"
    run_dir = good_run(tmp_path, stage__output=str(folder))
    shutil.copy(folder / ".hpcpipe" / "toy.json", folder / ".hpcpipe" / "other.json")
    part = folder / ".a.out.1.part"
    part.write_text("x")
    for path in (run_dir / "config.yaml", *(run_dir / "launches").glob("*.yaml")):
        os.chown(path, ALICE.uid, -1)
    assert verb("clean", run_dir) == 0
    assert part.exists()


def test_run_options_are_read_without_the_stage(planted, monkeypatch):
    monkeypatch.setenv("NUM_TRIES", "7")
    assert load_section(planted, "config.yaml", RunOptions, "run").max_attempts == 7
    monkeypatch.setenv("NUM_TRIES", "many")
    with pytest.raises(ConfigError, match=r"config\.yaml: run\.max_attempts: expected int"):
        load_section(planted, "config.yaml", RunOptions, "run")


def test_names_in_journals_do_not_lead_out_of_the_output_folder(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    (tmp_path / "secret").write_text("x")
    (journal,) = (run_dir / "journal").glob("*.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"a.out"', b'"../../../../secret"', 1))
    capsys.readouterr()
    assert verb("verify", run_dir, "--deep") == 3
    shown = capsys.readouterr().out
    assert "unreadable" in shown
    assert "must be a relative path of plain, visible names" in shown


@pytest.fixture
def open_folder():
    with tempfile.TemporaryDirectory(prefix="hpcpipe-", dir="/tmp") as name:
        folder = Path(name)
        write_inputs(folder, a="one", b="two")
        os.chown(folder, -1, LAB)
        folder.chmod(0o2775)
        yield folder


def test_a_run_that_everybody_can_write_to_is_closed_and_that_is_told(open_folder, capsys):
    config = toy_config(open_folder, limit=1)
    with as_user(ALICE):
        run_dir = run_here(config).run_dir
        run_dir.chmod(0o777)
        (run_dir / "launches").chmod(0o1777)
    with as_user(BOB), pytest.raises(SetupError, match=r"types: chmod -R o-w"):
        run_here(toy_config(open_folder))
    with as_user(ALICE):
        assert run_here(toy_config(open_folder)).exit_code == 0
    assert f"{run_dir} could be written by every user" in capsys.readouterr().err
    for path in (run_dir, run_dir / "launches"):
        assert not path.stat().st_mode & stat.S_IWOTH


def test_pickles_can_be_reached_by_nobody_but_user_and_group(open_folder):
    config = toy_config(open_folder, launcher="local")
    command = (
        "import os, sys; os.umask(0); from pathlib import Path\n"
        "from tests.toys.runs import toy_config; from hpcpipe.launch.start import start\n"
        f"config = toy_config(Path({str(open_folder)!r}), launcher='local')\n"
        "sys.exit(start(config, 'submit').exit_code)"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", command], check=True, cwd=root)
    folder = Path(config.run_dir) / "submitit" / "1"
    assert list(folder.glob("*.pkl"))
    assert folder.stat().st_mode & 0o007 == 0
    assert folder.parent.stat().st_mode & stat.S_IWOTH == 0


TOKEN = "hf_" + "aB3" * 11


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("+launcher.slurm.comment=" + TOKEN, "launcher.slurm.comment"),
        (f"site.setup=['export HF_TOKEN={TOKEN}']", "site.setup"),
        ("+site.slurm.api_key=abc", "site.slurm.api_key"),
        ("+launcher.slurm.hub_token=abc", "launcher.slurm.hub_token"),
    ],
)
def test_secrets_typed_as_options_are_refused_and_not_repeated(tmp_path, option, shown):
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=rf"{shown} looks like a secret.*oc\.env:NAME") as error:
        hpcpipe.run(
            "reshard", overrides=[option, f"run_dir={tmp_path}/run"], input=str(tmp_path / "in")
        )
    assert TOKEN not in str(error.value)
    assert "abc" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_secrets_in_the_environment_are_used_and_stored_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, site__slurm__hub_token="${oc.env:MY_TOKEN}")
    assert config.site.slurm == {"hub_token": TOKEN}
    run_here(config)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_a_value_from_the_environment_is_not_repeated_where_it_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "hunter2's own")
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=r"expected int.*\$\{oc\.env:MY_TOKEN\}") as error:
        toy_config(tmp_path, run__max_attempts="${oc.env:MY_TOKEN}")
    assert "hunter2" not in str(error.value)


def test_batch_scripts_get_no_secret_from_the_environment_as_text(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(
        ConfigError, match=r"site\.setup: .* MY_TOKEN would be too\. Write \$MY_TOKEN"
    ):
        toy_config(tmp_path, site__setup=["export HF_TOKEN=${oc.env:MY_TOKEN}"])
    toy_config(tmp_path, site__setup=["export HF_TOKEN=$MY_TOKEN"])


def test_words_that_only_sound_like_secrets_are_taken(tmp_path):
    write_inputs(tmp_path, a="one")
    for name in ("num_tokens", "pad_token", "keys", "secretary", "tokenizer"):
        toy_config(tmp_path, **{f"site__slurm__{name}": "x"})


def test_urls_with_a_password_are_refused(tmp_path, monkeypatch):
    url = "https://me:swordfish@example.org/a.txt"
    with pytest.raises(ConfigError, match=r"stage\.input: the URL holds a password") as error:
        toy_config(tmp_path, stage__input=[url])
    assert "swordfish" not in str(error.value)
    monkeypatch.setenv("BUCKET", "s3://KEY:swordfish@bucket/out")
    with pytest.raises(ConfigError, match=r"stage\.output: the URL holds a password"):
        toy_config(tmp_path, stage__output="${oc.env:BUCKET}")
    toy_config(tmp_path, stage__input=["s3://bucket/a@b:c", "/data/x:y@z", "sftp://me@host/x"])


def test_urls_with_a_password_in_a_plan_are_refused(tmp_path, monkeypatch):
    from hpcpipe.stage import Input, Shard
    from tests.toys.toy import Toy

    shard = Shard("a", (Input("ftp://me:swordfish@example.org/a", 1),))
    monkeypatch.setattr(Toy, "plan", lambda self, ctx: iter([shard]))
    with pytest.raises(PlanError, match=r"shard a: the URL holds a password") as error:
        run_here(toy_config(tmp_path))
    assert "swordfish" not in str(error.value)


CLEAR = "\x1b[2J\x1b]0;owned\x07"


def test_messages_do_not_steer_the_terminal(tmp_path, capsys, monkeypatch):
    from tests.toys.toy import Toy

    def process(self, shard, ctx, state):
        raise BadInputError(f"bad member {CLEAR}\u202egpj")

    monkeypatch.setattr(Toy, "process", process)
    write_inputs(tmp_path, a="one")
    run_dir = run_here(toy_config(tmp_path)).run_dir
    for command in (("status",), ("logs", "a"), ("logs", "here-1-0")):
        capsys.readouterr()
        verb(command[0], run_dir, *command[1:])
        shown = capsys.readouterr().out
        assert "bad member \\x1b[2J" in shown
        assert "\\u202egpj" in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert verb("status", f"no{CLEAR}where") == 2
    assert "\x1b" not in capsys.readouterr().err


def test_what_is_no_control_character_is_shown_as_it_is():
    assert visible("Zürich\t写真 🙂\nnext") == "Zürich\t写真 🙂\nnext"


def test_a_json_that_is_no_samples_is_not_read_into_memory(tmp_path, monkeypatch):
    import io
    import tarfile

    from tests.toys.runs import events_of

    monkeypatch.setattr(samples, "MAX_JSON_BYTES", 1000)
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        for size in (10, 2000):
            info = tarfile.TarInfo(f"s{size}.json")
            info.size = size
            tar.addfile(info, io.BytesIO(b" " * size))
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    result = hpcpipe.run("index", input=str(tmp_path / "in"), uid=True)
    assert result.exit_code == 3
    (failed,) = events_of(result.run_dir, "failed")
    assert "has 2000 bytes, more than 1000: no json of a sample" in failed.error
    assert failed.final
