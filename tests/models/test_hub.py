import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.errors import SetupError
from hpcpipe.models.hub import FoundModel, find
from hpcpipe.models.hub_files import needed, read_model_index
from hpcpipe.stage import Model
from tests.models import folders

PIPELINE = Model("org/flux", library="diffusers")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_of(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def refusal(model: Model, words: str | None = None) -> str:
    with pytest.raises(SetupError) as caught:
        find(model, words)
    return str(caught.value)


def test_a_folder_is_taken_as_it_is(tmp_path):
    folder = folders.write_pipeline(tmp_path / "flux")
    assert find(Model(str(folder), library="diffusers")) == FoundModel(folder, None)


def test_a_model_of_the_hub_is_found_with_its_commit(cache):
    folder = folders.write_model(folders.cached(cache, "org/llama"))
    assert find(Model("org/llama")) == FoundModel(folder, folders.COMMIT)
    assert find(Model("org/llama", folders.COMMIT)).path == folder


def test_a_branch_has_its_own_commit(cache):
    folders.write_model(folders.cached(cache, "org/llama"))
    other = folders.write_model(folders.cached(cache, "org/llama", "f" * 40, "v2"))
    assert find(Model("org/llama", "v2")).path == other
    text = refusal(Model("org/llama", "v3"))
    assert f"is in {cache}, but not its revision v3" in text


def test_what_is_not_there_is_named_with_the_command_that_fetches_it(cache):
    text = refusal(PIPELINE, "stage=generate_images stage.model=org/flux")
    assert f"model org/flux is not in the cache {cache}" in text
    assert "which does not exist (HF_HOME or HF_HUB_CACHE name another one)" in text
    assert text.endswith(
        "python -m hpcpipe fetch-models stage=generate_images stage.model=org/flux"
    )


def test_a_typing_error_in_a_name_is_pointed_at(cache):
    folders.write_model(folders.cached(cache, "org/llama"))
    assert (
        f"org/lama is not in the cache {cache} on {os.uname().nodename}; org/llama is. Fetch"
        in (refusal(Model("org/lama")))
    )
    assert "; org" not in refusal(Model("other/vision"))


def test_a_worker_is_told_that_its_node_may_see_another_cache(cache):
    text = refusal(PIPELINE)
    assert f"not in the cache {cache} on {os.uname().nodename}, which does not exist" in text
    assert text.endswith(
        "python -m hpcpipe fetch-models RUN. HF_HOME has to name a folder on a filesystem that "
        "all nodes share"
    )


def test_a_folder_of_the_same_name_is_pointed_at(cache, tmp_path, monkeypatch):
    folders.write_pipeline(tmp_path / "org/flux")
    monkeypatch.chdir(tmp_path)
    assert "A folder org/flux is here; ./org/flux would mean that one" in refusal(PIPELINE)


@pytest.mark.parametrize("name", ["org/a/b", "org/../b", "org//b", "a b", "", "org/a--b", "-x/y"])
def test_what_can_be_no_name_is_said_to_be_none(cache, name):
    assert "is no name on the Hub, which would be org/name" in refusal(Model(name))


@pytest.mark.parametrize("revision", ["../../x", "", "/etc", "a\nb"])
def test_a_revision_never_leaves_the_cache(cache, revision):
    folders.write_model(folders.cached(cache, "org/llama"))
    assert "can be no branch, tag or commit" in refusal(Model("org/llama", revision))


def pipeline_without(name: str):
    return lambda folder: (
        shutil.rmtree(folder / name) if "." not in name else os.remove(folder / name)
    )


def truncated(name: str):
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 10)


def filled(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (pipeline_without("model_index.json"), "model_index.json is missing"),
        (filled("model_index.json", b"{"), "model_index.json is damaged"),
        (pipeline_without("vae"), "vae/ is missing"),
        (pipeline_without("vae/config.json"), "vae/config.json is missing"),
        (pipeline_without("scheduler/scheduler_config.json"), "scheduler/ has no configuration"),
        (pipeline_without("tokenizer/vocab.json"), "tokenizer/tokenizer.json is missing"),
        (
            pipeline_without("vae/diffusion_pytorch_model.safetensors"),
            "vae/model.safetensors is missing; there is diffusion_pytorch_model.bin, which is not",
        ),
        (
            pipeline_without("transformer/diffusion_pytorch_model-00002-of-00002.safetensors"),
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors is missing",
        ),
        (truncated("text_encoder/model.safetensors"), "text_encoder/model.safetensors has "),
        (filled("text_encoder/model.safetensors", b"x" * 90), "model.safetensors is damaged"),
        (filled("text_encoder/model.safetensors", b""), "model.safetensors is damaged"),
        (
            filled(
                "transformer/diffusion_pytorch_model.safetensors.index.json",
                b'{"weight_map": {"w": "../../../../secret.safetensors"}}',
            ),
            "diffusion_pytorch_model.safetensors.index.json is damaged",
        ),
    ],
)
def test_a_pipeline_that_is_not_whole_is_told_by_its_first_fault(cache, damage, expected):
    folder = folders.write_pipeline(folders.cached(cache, "org/flux"))
    damage(folder)
    text = refusal(PIPELINE)
    assert f"model org/flux in {folder} is not whole: " in text
    assert expected in text
    assert "Fetch what is missing on a machine with internet" in text


def test_a_link_to_weights_that_are_gone_is_a_missing_file(cache):
    folder = folders.write_model(folders.cached(cache, "org/llama"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/gone")
    assert "model.safetensors is missing" in refusal(Model("org/llama"))


def test_a_folder_that_a_node_lacks_is_said_to_need_a_shared_filesystem(tmp_path):
    text = refusal(Model(str(tmp_path / "flux"), library="diffusers"))
    assert f"there is no such folder on {os.uname().nodename}" in text
    assert "a filesystem that all nodes share" in text


def test_only_what_a_library_loads_is_needed(tmp_path):
    pipeline = folders.write_pipeline(tmp_path / "flux")
    index = read_model_index(pipeline / "model_index.json")
    assert needed(files_of(pipeline), "diffusers", index) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    model = folders.write_model(tmp_path / "llama")
    assert needed(files_of(model), "transformers", {}) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_finding_imports_no_heavy_library(tmp_path):
    folder = folders.write_pipeline(tmp_path / "flux")
    program = (
        "import sys; from hpcpipe.models.hub import find; from hpcpipe.stage import Model\n"
        f"find(Model({str(folder)!r}, library='diffusers'))\n"
        "assert not {'torch', 'diffusers', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
