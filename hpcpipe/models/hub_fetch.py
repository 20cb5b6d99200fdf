"""Downloading models from the Hub, or a mirror of it, into the cache that workers read.

For a machine with internet: what is asked for is looked up first (`look_up`), so that all that is
to come is known before anything large is (`download`). huggingface_hub does both, with its own
token, cache, mirrors (HF_ENDPOINT) and progress bars.
"""

import contextlib
import glob
import os
from pathlib import Path
from typing import NamedTuple

from hpcpipe.errors import SetupError
from hpcpipe.models.hub import FoundModel, cache_folder, check_names, find
from hpcpipe.models.hub_errors import in_our_words
from hpcpipe.models.hub_files import MODEL_INDEX, needed, read_model_index, unusable
from hpcpipe.stage import Model


class Download(NamedTuple):
    """A model that is to be downloaded.

    Attributes:
        model: the model.
        commit: what its revision stands for now.
        files: names of the files that are needed.
        num_bytes: size of those that are not there yet.
        damaged: those that are there, but of another size.
    """

    model: Model
    commit: str
    files: list[str]
    num_bytes: int
    damaged: list[Path]


def look_up(model: Model) -> Download:
    """Ask the Hub what a model consists of. One small file of it is downloaded.

    Args:
        model: a model that is no folder.

    Returns:
        What is to be downloaded.

    Raises:
        SetupError: there is no such model, its licence has to be accepted, or it has no files that
            its library could load.
        OutageError: the Hub cannot be reached.
    """
    check_names(model)
    cache_folder()
    from huggingface_hub import HfApi, constants, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        raise SetupError(
            f"model {model.name} is not there, and HF_HUB_OFFLINE is set, which forbids to "
            "download it: unset it for this command"
        )
    with in_our_words(model):
        info = HfApi().model_info(model.name, revision=model.revision, files_metadata=True)
        commit = str(info.sha)
        first = MODEL_INDEX if model.library == "diffusers" else "config.json"
        # Whether its licence was accepted shows with the first file only.
        file = Path(hf_hub_download(model.name, first, revision=commit))
        index = read_model_index(file) or {} if model.library == "diffusers" else {}
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
    if without := unusable(sizes, model.library, index):
        raise SetupError(
            f"model {model.name} has weights that are not read, since they are no safetensors or a "
            f"variant: {', '.join(without)}. Choose another model or revision"
        )
    files = needed(sizes, model.library, index)
    there = {name: file.parent / name for name in files if (file.parent / name).exists()}
    damaged = [
        name
        for name, path in there.items()
        if path.stat().st_size != (sizes[name] or path.stat().st_size)
    ]
    num_bytes = sum(sizes[name] or 0 for name in files if name not in there or name in damaged)
    return Download(model, commit, files, num_bytes, [there[name] for name in damaged])


def download(wanted: Download) -> FoundModel:
    """Download the files of a model that are not there yet.

    Files that are there stay; one that was cut off is downloaded again. Several may do this at
    once.

    Args:
        wanted: what `look_up` gave.

    Returns:
        Where the model lies.

    Raises:
        SetupError: the disk is full, or what was downloaded is not whole.
        OutageError: the Hub cannot be reached any more.
    """
    from huggingface_hub import snapshot_download

    model = wanted.model
    with in_our_words(model):
        for path in wanted.damaged:
            path.resolve().unlink(missing_ok=True)
        # The revision rather than its commit: the cache remembers what it stands for.
        patterns = [glob.escape(name) for name in wanted.files]
        snapshot_download(model.name, revision=model.revision, allow_patterns=patterns)
    return find(model)


def remove_unfinished() -> None:
    """Remove what this process is in the middle of downloading, before it is ended.

    Such a file has a name of its own, so no later download goes on with it. Raises OSError.
    """
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(link)
            if target.endswith(".incomplete"):
                os.unlink(target)
