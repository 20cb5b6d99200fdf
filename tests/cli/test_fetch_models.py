"""Fetching models from a Hub on loopback, with the real client."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.__main__ import main
from hpcpipe.launch.quota import Room
from tests.faults.faults import Fault
from tests.models import folders
from tests.servers.hub import TOKEN, Hub, hub_server
from tests.servers.ports import free_ports
from tests.toys.runs import TOYS, write_inputs
from tests.waiting import wait_until

VERB = ("fetch-models", "stage=modelled", "stage.model=org/flux", "stage.library=diffusers")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that this process and those it starts talk to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HPCPIPE_CONF", str(TOYS))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with hub_server() as server:
        server.use(monkeypatch, tmp_path / "home")
        server.add("org/flux", folders.write_pipeline(tmp_path / "flux"))
        server.add("org/llama", folders.write_model(tmp_path / "llama"))
        yield server


def snapshot(hub: Hub, tmp_path: Path, name: str = "org/flux", ref: str = "main") -> Path:
    repository = tmp_path / "home" / "hub" / f"models--{name.replace('/', '--')}"
    return repository / "snapshots" / hub.refs[ref]


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def said(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    return shown.out + shown.err


def test_only_the_files_that_are_needed_are_fetched_once(hub, tmp_path, capsys):
    assert main([*VERB]) == 0
    folder = snapshot(hub, tmp_path)
    assert "flux1.safetensors" not in files_of(folder)
    assert "text_encoder/model.fp16.safetensors" not in files_of(folder)
    assert len(files_of(folder)) == 13
    shown = capsys.readouterr().out
    assert "to fetch   org/flux (diffusers): " in shown
    assert f" of 13 files, commit {folder.name[:12]}\n" in shown
    assert f"fetched    org/flux (diffusers): 1.3 KiB in {folder}\n" in shown
    hub.asked.clear()
    assert main([*VERB]) == 0
    assert f"there      org/flux (diffusers): 1.3 KiB in {folder}\n" in capsys.readouterr().out
    assert not hub.asked, "what is there needs no network"


def test_a_revision_is_fetched_under_its_name(hub, tmp_path, capsys):
    hub.refs["v2"] = "e" * 40
    words = ("stage=modelled", "stage.model=org/llama", "stage.revision=v2")
    assert main(["fetch-models", *words]) == 0
    assert snapshot(hub, tmp_path, "org/llama", "v2").is_dir()
    write_inputs(tmp_path, a="x")
    assert main([*words, "stage.input=in", "stage.output=out"]) == 0
    assert (tmp_path / "out" / "a.out").read_text() == "e" * 40


def test_a_pipelines_models_are_fetched_without_its_inputs(hub, tmp_path, capsys):
    assert main(["fetch-models", "pipeline=modelled", "-m", "pipeline.model=org/llama"]) == 0
    assert snapshot(hub, tmp_path, "org/llama").is_dir()
    assert main(["fetch-models", "pipeline=modelled"]) == 2
    assert "pipeline.model is required: add pipeline.model=VALUE" in said(capsys)
    assert main(["fetch-models", "stage=modelled"]) == 2
    assert "stage.model is required: add stage.model=VALUE" in said(capsys)


def test_the_models_of_a_run_and_of_a_pipelines_runs(hub, tmp_path, capsys):
    write_inputs(tmp_path, a="x")
    words = ("pipeline=modelled", "pipeline.input=in", "pipeline.output=out")
    folder = tmp_path / "llama"
    assert main([*words, "pipeline.model=./llama", "first.stage.word=hi"]) == 0
    assert main(["fetch-models", "out/second"]) == 0
    assert main(["fetch-models", "modelled"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(f"there      {folder} (transformers): ") == 2


def test_a_stage_without_models_needs_none(hub, capsys):
    assert main(["fetch-models", "stage=toy"]) == 0
    assert capsys.readouterr().out == "no models: toy\n"


def test_a_licence_that_was_not_accepted_is_said_with_its_page(hub, capsys, monkeypatch):
    hub.gated.add("org/flux")
    assert main([*VERB]) == 2
    shown = said(capsys)
    assert "model org/flux is given to those who accepted its licence" in shown
    assert f"open {hub.url}/org/flux, accept it there, then log in with hf auth login" in shown
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main([*VERB]) == 0
    assert TOKEN in hub.tokens
    assert TOKEN not in said(capsys)


def test_a_token_that_is_not_known_is_said_and_not_shown(hub, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrong")
    assert main([*VERB]) == 2
    shown = said(capsys)
    assert "does not know the token that was found" in shown
    assert "wrongwrong" not in shown


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_name_with_a_typing_error(hub, capsys, monkeypatch, token):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert main([*VERB, "stage.model=org/flxu"]) == 2
    assert f"there is no model org/flxu at {hub.url}, or it is private" in said(capsys)


def test_a_revision_that_is_not_there(hub, capsys):
    assert main([*VERB, "stage.revision=v9"]) == 2
    assert "model org/flux has no revision 'v9'" in said(capsys)


def test_a_model_of_another_library(hub, capsys):
    assert main([*VERB, "stage.library=transformers"]) == 2
    assert "is no model that transformers could load: it has no config.json" in said(capsys)
    assert main([*VERB, "stage.model=org/llama"]) == 2
    assert "is no pipeline that diffusers could load: it has no model_index.json" in said(capsys)


def test_pickled_weights_are_refused_before_anything_large_comes(hub, tmp_path, capsys):
    (tmp_path / "flux" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert main([*VERB]) == 2
    assert "has weights that are not read" in (shown := said(capsys))
    assert "vae/diffusion_pytorch_model.bin. Choose another model or revision" in shown
    assert hub.sent.keys() == {"model_index.json"}


def test_what_does_not_fit_is_refused_before_it_is_fetched(hub, capsys, monkeypatch):
    room = Room(100, None, "of the quota of user someone")
    monkeypatch.setattr("hpcpipe.cli.fetch_models.rooms", lambda folder: [room])
    assert main([*VERB]) == 2
    assert "are to be downloaded to" in (shown := said(capsys))
    assert "and 100 B are left of the quota of user someone. Free some, or set HF_HOME" in shown
    assert hub.sent.keys() == {"model_index.json"}


def test_no_network_is_said_with_where_to_run_it(hub, tmp_path, capsys, monkeypatch):
    place = f"127.0.0.1:{free_ports(1)[0]}"
    hub.url = f"http://me:secret@{place}"  # a mirror that wants a password
    hub.use(monkeypatch, tmp_path / "home")
    assert main([*VERB]) == 4
    assert f"model org/flux: http://{place} cannot be reached: " in (shown := said(capsys))
    assert "secret" not in shown
    assert "run this where there is some, such as the login node" in shown


@pytest.mark.parametrize(("status", "text"), [(429, "too many requests"), (500, "HTTP 500")])
def test_a_hub_in_trouble_is_an_outage(hub, capsys, status, text):
    hub.status = status
    assert main([*VERB]) == 4
    assert text in said(capsys)


def test_offline_mode_is_named(hub, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main([*VERB]) == 2
    assert "HF_HUB_OFFLINE is set, which forbids to download it" in said(capsys)


def test_a_connection_that_breaks_is_tried_again(hub, tmp_path):
    name = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    hub.cut_after[name] = 50
    with command(*VERB) as fetching:
        shown = fetching.communicate(timeout=120)
    assert fetching.returncode == 0, shown
    source = tmp_path / "flux" / name
    assert (snapshot(hub, tmp_path) / name).read_bytes() == source.read_bytes()


def test_a_damaged_file_in_the_cache_is_fetched_again(hub, tmp_path, capsys):
    assert main([*VERB]) == 0
    file = snapshot(hub, tmp_path) / "vae" / "diffusion_pytorch_model.safetensors"
    os.truncate(file, 80)
    assert main([*VERB]) == 0
    source = tmp_path / "flux" / "vae" / "diffusion_pytorch_model.safetensors"
    assert file.read_bytes() == source.read_bytes()


def command(*args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hpcpipe", *args],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_fetch_that_was_killed_goes_on_and_two_at_once_do_no_harm(hub, tmp_path):
    held = "vae/diffusion_pytorch_model.safetensors"
    hub.held.add(held)
    with command(*VERB) as killed:
        assert hub.reached.wait(60)
        killed.send_signal(signal.SIGKILL)
    write_inputs(tmp_path, a="x")
    with command(*VERB[1:], "stage.input=in") as refused:
        _, err = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert "model org/flux in " in err
    assert " is not whole: " in err
    words = "stage=modelled stage.model=org/flux stage.library=diffusers stage.input=in"
    assert f"python -m hpcpipe fetch-models {words}\n" in err
    hub.held.clear()
    hub.sent.clear()
    with command(*VERB) as one, command(*VERB) as other:
        shown = [each.communicate(timeout=120) for each in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), shown
    folder = snapshot(hub, tmp_path)
    for name in files_of(folder):
        assert (folder / name).read_bytes() == (tmp_path / "flux" / name).read_bytes()
    assert "text_encoder/config.json" not in hub.sent, "what was whole is not fetched again"


def test_a_full_disk_is_said_with_where_there_may_be_room(hub, tmp_path, faults):
    faults.set(Fault("write", f"{tmp_path}/home/*/blobs/*", "ENOSPC", skip=1))
    with command(*VERB, env=faults.env()) as fetching:
        _, err = fetching.communicate(timeout=120)
    assert fetching.returncode == 2, err
    assert f"model org/flux cannot be written to {tmp_path}/home/hub: " in err
    assert "No space left on device. Free space, or set HF_HOME" in err


def test_ctrl_c_ends_it_at_once_and_leaves_nothing_half_done(hub, tmp_path):
    hub.held.add("vae/diffusion_pytorch_model.safetensors")
    with command(*VERB) as fetching:
        assert hub.reached.wait(60)
        wait_until(lambda: list(tmp_path.rglob("*.incomplete")))
        fetching.send_signal(signal.SIGINT)
        _, err = fetching.communicate(timeout=120)
    assert fetching.returncode == 130
    assert "SIGINT: what is whole stays; the same command goes on" in err
    assert list(tmp_path.rglob("*.incomplete")) == []


def test_a_folder_needs_no_client_of_the_hub(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["fetch-models", "stage=modelled", "stage.model=./llama"]) == 0
    assert f"there      {tmp_path}/llama (transformers): " in capsys.readouterr().out
    assert main([*VERB]) == 2
    assert "pip install 'hpcpipe[hub]'" in said(capsys)
