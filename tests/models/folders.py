"""Folders of models as the Hub serves them: everything in place, weights of a few bytes."""

import json
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return path


def weights(num_bytes: int = 64, name: str = "w") -> bytes:
    """A safetensors file with one tensor, another for each name."""
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            name: {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(num_bytes)


def write_weights(folder: Path, name: str, num_bytes: int) -> None:
    write(folder / name, weights(num_bytes, name))


def write_shards(folder: Path, base: str, num_bytes: int = 64) -> None:
    names = [f"{base}-{number:05}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        write_weights(folder, name, num_bytes)
    index = {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}
    write(folder / f"{base}.safetensors.index.json", index)


def write_model(folder: Path, num_bytes: int = 64) -> Path:
    """A language model: one file of weights, a tokenizer, and what nobody needs."""
    write(folder / "config.json", {"model_type": "llama"})
    write(folder / "generation_config.json", {})
    write(folder / "tokenizer.json", {"model": {}})
    write(folder / "tokenizer_config.json", {})
    write_weights(folder, "model.safetensors", num_bytes)
    write(folder / "pytorch_model.bin", bytes(1000))
    write(folder / "onnx/model.onnx", bytes(1000))
    write(folder / "README.md", b"a model")
    return folder


def write_pipeline(folder: Path, num_bytes: int = 64) -> Path:
    """A pipeline of the Flux family: sharded transformer, two encoders, duplicates for others."""
    parts = {
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "image_encoder": [None, None],
    }
    index = {"_class_name": "FluxPipeline", "_diffusers_version": "0.30.0", "flag": True, **parts}
    write(folder / "model_index.json", index)
    write(folder / "scheduler/scheduler_config.json", {})
    write(folder / "tokenizer/vocab.json", {})
    write(folder / "tokenizer/merges.txt", b"#version")
    write(folder / "tokenizer/tokenizer_config.json", {})
    for part in ("text_encoder", "transformer", "vae"):
        write(folder / part / "config.json", {})
    write_weights(folder, "text_encoder/model.safetensors", num_bytes)
    write_weights(folder, "text_encoder/model.fp16.safetensors", num_bytes)
    write_weights(folder, "vae/diffusion_pytorch_model.safetensors", num_bytes)
    write(folder / "vae/diffusion_pytorch_model.bin", bytes(1000))
    write_shards(folder / "transformer", "diffusion_pytorch_model", num_bytes)
    write_weights(folder, "flux1.safetensors", 1000)
    return folder


def cached(cache: Path, name: str, commit: str = COMMIT, ref: str = "main") -> Path:
    """The folder of a model in a Hub cache; it is yet to be filled."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / ref).write_text(commit)
    return repository / "snapshots" / commit
