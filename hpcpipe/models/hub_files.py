"""The files of a model that are needed to load it: which to download, and whether they are there.

Weights are read as safetensors without a variant's name in theirs. Those pickled (``.bin``), of
other libraries, or of the same model in one file for another program are neither downloaded nor
looked for.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

Library = Literal["diffusers", "transformers"]

MODEL_INDEX = "model_index.json"
"""The file that makes a folder a pipeline of diffusers, and lists its parts."""

_WEIGHTS = re.compile(r"(diffusion_pytorch_)?model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_SMALL_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja"})
_OTHER_WEIGHTS = re.compile(r".*\.(bin|safetensors|msgpack|h5|onnx)(\.index\.json)?")
_NO_WEIGHTS = re.compile(r".*(Tokenizer(Fast)?|Scheduler|Processor(Fast)?|Extractor|Pil)")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def needed(names: Iterable[str], library: Library, model_index: dict[str, Any]) -> list[str]:
    """Choose the files of a repository that its library loads.

    Args:
        names: all files of the repository.
        library: what loads them.
        model_index: content of its `MODEL_INDEX`; empty for ``transformers``.

    Returns:
        Those needed, sorted.

    Raises:
        Nothing.
    """
    folders = {""} | set(components(model_index)) if library == "diffusers" else {""}
    chosen = []
    for name in names:
        folder, _, file = name.rpartition("/")
        is_small = PurePosixPath(file).suffix in _SMALL_SUFFIXES and not _OTHER_WEIGHTS.match(file)
        # At the top of a pipeline lie whole models in one file, for other programs.
        has_weights = library == "transformers" or folder != ""
        if folder in folders and (is_small or (has_weights and _WEIGHTS.fullmatch(file))):
            chosen.append(name)
    return sorted(chosen)


def unusable(names: Iterable[str], library: Library, model_index: dict[str, Any]) -> list[str]:
    """List the folders of a repository that have weights, but none that are read.

    Args:
        names: all files of the repository.
        library: what loads them.
        model_index: content of its `MODEL_INDEX`; empty for ``transformers``.

    Returns:
        One file of each such folder.

    Raises:
        Nothing.
    """
    folders = components(model_index) if library == "diffusers" else {"": ""}
    found: dict[str, str] = {}
    readable: set[str] = set()
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        if folder in folders and _OTHER_WEIGHTS.fullmatch(file):
            found.setdefault(folder, name)
        if _is_start(file):
            readable.add(folder)
    return [name for folder, name in found.items() if folder not in readable]


def components(model_index: dict[str, Any]) -> dict[str, str]:
    """List the parts of a pipeline.

    Args:
        model_index: content of its `MODEL_INDEX`.

    Returns:
        Name of the class by folder; parts that the pipeline does without are left out.

    Raises:
        Nothing.
    """
    return {
        name: str(value[1])
        for name, value in model_index.items()
        if re.fullmatch(r"[A-Za-z]\w*", name)
        and isinstance(value, list)
        and len(value) == 2
        and value[1] is not None
    }


def problem(folder: Path, library: Library) -> str:
    """Look whether a folder has what its library needs.

    Sizes of the weights are compared with what they say of themselves, so that copies which were
    cut off are seen. Nothing else is read.

    Args:
        folder: the folder of the model.
        library: what loads it.

    Returns:
        What is wrong, beginning with a file's name; "" for nothing.

    Raises:
        OSError: the folder cannot be read.
    """
    if library == "diffusers":
        return next(_problems_of_pipeline(folder), "")
    return next(_problems_of_model(folder), "") or next(_problems_of_tokenizer(folder), "")


def read_model_index(path: Path) -> dict[str, Any] | None:
    """Read a pipeline's list of parts.

    Args:
        path: the file.

    Returns:
        Its content; None for a file that is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _problems_of_pipeline(folder: Path) -> Iterator[str]:
    index = folder / MODEL_INDEX
    if not index.is_file():
        yield f"{MODEL_INDEX} is missing, which every pipeline of diffusers has"
        return
    content = read_model_index(index)
    if not content:
        yield f"{MODEL_INDEX} is damaged"
        return
    for name, class_name in components(content).items():
        part = folder / name
        if not part.is_dir():
            yield f"{name}/ is missing"
        elif "Tokenizer" in class_name:
            yield from (f"{name}/{text}" for text in _problems_of_tokenizer(part))
        elif not _NO_WEIGHTS.fullmatch(class_name):
            yield from (f"{name}/{text}" for text in _problems_of_model(part))
        elif not any(part.glob("*.json")):
            yield f"{name}/ has no configuration"


def _problems_of_tokenizer(folder: Path) -> Iterator[str]:
    is_one = (folder / "tokenizer_config.json").is_file() or not (folder / "config.json").is_file()
    if is_one and not any(path.is_file() for name in _VOCABULARIES for path in folder.glob(name)):
        yield "tokenizer.json is missing, and any other vocabulary"


def _problems_of_model(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        yield "config.json is missing"
        return
    files = [path for path in sorted(folder.glob("*model*.safetensors*")) if _is_start(path.name)]
    if not files:
        yield _without_weights(folder)
    for file in files:
        if file.suffix == ".json":
            yield from _problems_of_index(file)
        else:
            yield from _problems_of_weights(file)


def _is_start(name: str) -> bool:
    """Whether weights begin with this file: the only one, or the list of several."""
    match = _WEIGHTS.fullmatch(name)
    return match is not None and not match[2]


def _without_weights(folder: Path) -> str:
    others = sorted(path.name for path in folder.iterdir() if _OTHER_WEIGHTS.match(path.name))
    if others:
        return f"model.safetensors is missing; there is {others[0]}, which is not read"
    return "model.safetensors is missing"


def _problems_of_index(file: Path) -> Iterator[str]:
    try:
        names = sorted(set(json.loads(file.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        names = []
    if not names or not all(isinstance(n, str) and _WEIGHTS.fullmatch(n) for n in names):
        yield f"{file.name} is damaged"
        return
    for name in names:
        yield from _problems_of_weights(file.with_name(name))


def _problems_of_weights(file: Path) -> Iterator[str]:
    if not file.is_file():
        yield f"{file.name} is missing"
        return
    size_bytes = _told_size_bytes(file)
    if size_bytes is None:
        yield f"{file.name} is damaged"
    elif file.stat().st_size != size_bytes:
        yield f"{file.name} has {file.stat().st_size:,} of {size_bytes:,} bytes"


def _told_size_bytes(file: Path) -> int | None:
    """Size of a safetensors file by its own header; None for one that cannot be right.

    Source: the format's description: 8 bytes little-endian length of the header, the header in
    JSON with ``data_offsets`` from its end, the data.
    """
    with file.open("rb") as stream:
        num_bytes = int.from_bytes(stream.read(8), "little")
        if not 2 <= num_bytes <= min(100_000_000, file.stat().st_size):
            return None
        try:
            header = json.loads(stream.read(num_bytes))
            tensors = [value for name, value in header.items() if name != "__metadata__"]
            ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
    return 8 + num_bytes + max(ends, default=0)
