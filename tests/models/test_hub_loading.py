"""What is fetched from a Hub is what the libraries load: real architectures, tiny weights."""

import shutil
from pathlib import Path

import pytest

from hpcpipe.models.hub import find
from hpcpipe.models.hub_fetch import download, look_up
from hpcpipe.stage import Model
from tests.models.tiny import KINDS, TINY
from tests.servers.hub import Hub, hub_server

MADE = ("flux", "sd_safe")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with one pipeline of each kind, and an encoder with its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny")
    for kind in MADE:
        KINDS[kind](folder / kind, TINY)
    shutil.copytree(folder / "flux" / "tokenizer", folder / "encoder")
    shutil.copytree(folder / "flux" / "text_encoder", folder / "encoder", dirs_exist_ok=True)
    return folder


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    with hub_server() as server:
        server.use(monkeypatch, tmp_path / "home")
        for path in made.iterdir():
            server.add(f"org/{path.name}", path)
        yield server


def files_of(folder: Path, *without: str) -> set[str]:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if name not in without}


@pytest.mark.parametrize("kind", MADE)
def test_a_pipeline_is_fetched_as_its_library_would(hub: Hub, made, tmp_path, monkeypatch, kind):
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    model = Model(f"org/{kind}", library="diffusers")
    found = download(look_up(model))
    theirs = DiffusionPipeline.download(model.name, cache_dir=tmp_path / "theirs")
    assert files_of(found.path) == files_of(Path(theirs), "README.md")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    pipeline = AutoPipelineForText2Image.from_pretrained(find(model).path, use_safetensors=True)
    assert type(pipeline).__name__ in (made / kind / "model_index.json").read_text()
    assert not hub.asked


def test_a_model_is_fetched_with_its_tokenizer(hub: Hub, monkeypatch):
    from transformers import AutoTokenizer, CLIPTextModel

    model = Model("org/encoder")
    download(look_up(model))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    path = find(model).path
    words = AutoTokenizer.from_pretrained(path)("a photo", return_tensors="pt")
    assert CLIPTextModel.from_pretrained(path)(**words).last_hidden_state.shape[0] == 1
    assert not hub.asked
