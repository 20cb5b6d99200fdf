"""Where a model lies: a folder, or its snapshot in the Hugging Face cache. Never the network.

The cache is laid out by huggingface_hub: ``models--ORG--NAME/refs/REVISION`` holds a commit, and
``snapshots/COMMIT/`` the files.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpcpipe.errors import SetupError, missing_extra
from hpcpipe.models.hub_files import problem
from hpcpipe.stage import Model

_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"(?:\w[\w.+-]*/)*\w[\w.+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class FoundModel(NamedTuple):
    """A model that is there, whole.

    Attributes:
        path: the folder to load it from.
        commit: the commit of its repository on the Hub; None for a folder of the user's.
    """

    path: Path
    commit: str | None


def find(model: Model, words: str | None = None) -> FoundModel:
    """Find a model on this machine.

    Args:
        model: the model.
        words: what the user would give to ``fetch-models``, for messages; None in a worker.

    Returns:
        Its folder and commit.

    Raises:
        SetupError: it is not there, or not whole; or huggingface_hub is not installed.
    """
    try:
        if model.name.startswith("/"):
            return _local(model)
        check_names(model)
        return _cached(model, words)
    except OSError as error:
        raise SetupError(f"model {model.name} cannot be read: {error}") from error


def commits(models: Iterable[Model]) -> dict[str, str]:
    """Tell which commits of models are here.

    Args:
        models: the models.

    Returns:
        Commit by name, or by ``NAME at REVISION``; folders, and what is not here, are left out.

    Raises:
        Nothing.
    """
    found: dict[str, str] = {}
    for model in models:
        with contextlib.suppress(SetupError):
            name = f"{model.name} at {model.revision}" if model.revision else model.name
            if commit := find(model).commit:
                found[name] = commit
    return found


def check_names(model: Model) -> None:
    """Make sure that a model's name and revision can be such.

    Args:
        model: a model that is no folder.

    Raises:
        SetupError: it cannot be on the Hub.
    """
    name = model.name
    is_name = _NAME.fullmatch(name) and len(name) <= 96 and "--" not in name and ".." not in name
    if not is_name:
        raise SetupError(
            f"model {name!r} is no name on the Hub, which would be org/name. A folder is written "
            "with its whole path, or begins with ./ or ~"
        )
    if model.revision is not None and (
        not _REVISION.fullmatch(model.revision) or ".." in model.revision
    ):
        raise SetupError(
            f"model {name}: revision {model.revision!r} can be no branch, tag or commit"
        )


def cache_folder() -> Path:
    """Tell where huggingface_hub keeps models: HF_HUB_CACHE, else ``hub`` in HF_HOME.

    Returns:
        The folder, which may not exist.

    Raises:
        SetupError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import constants
    except ImportError as error:
        raise missing_extra("huggingface_hub", "hub", "models from the Hub") from error
    return Path(constants.HF_HUB_CACHE).expanduser().absolute()


def _local(model: Model) -> FoundModel:
    path = Path(model.name)
    if not path.is_dir():
        raise SetupError(
            f"model {path}: there is no such folder on {os.uname().nodename}. Models have to lie "
            "on a filesystem that all nodes share"
        )
    if wrong := problem(path, model.library):
        raise SetupError(f"model {path} is not whole: {wrong}. Copy it again")
    return FoundModel(path, None)


def _cached(model: Model, words: str | None) -> FoundModel:
    cache = cache_folder()
    repository = cache / f"models--{model.name.replace('/', '--')}"
    revision = model.revision or "main"
    how = f"on a machine with internet: python -m hpcpipe fetch-models {words or 'RUN'}"
    if words is None:
        how += ". HF_HOME has to name a folder on a filesystem that all nodes share"
    commit = revision if _COMMIT.fullmatch(revision) else _commit(repository / "refs" / revision)
    path = repository / "snapshots" / commit
    if not commit or not path.is_dir():
        raise SetupError(_not_there(model, cache, repository) + f". Fetch it {how}")
    if wrong := problem(path, model.library):
        raise SetupError(
            f"model {model.name} in {path} is not whole: {wrong}. Fetch what is missing {how}"
        )
    return FoundModel(path, commit)


def _commit(ref: Path) -> str:
    """The commit that a branch or tag stood for when it was fetched; "" for none."""
    try:
        commit = ref.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    return commit if _COMMIT.fullmatch(commit) else ""


def _not_there(model: Model, cache: Path, repository: Path) -> str:
    name = model.name
    known = f"model {name} is not in the cache {cache} on {os.uname().nodename}"
    if not cache.is_dir():
        known += ", which does not exist (HF_HOME or HF_HUB_CACHE name another one)"
    elif repository.is_dir() and model.revision:
        known = f"model {name} is in {cache}, but not its revision {model.revision}"
    if Path(name).is_dir():
        known += f". (A folder {name} is here; ./{name} would mean that one)"
    there = [path.name[8:].replace("--", "/") for path in cache.glob("models--*")]
    if near := difflib.get_close_matches(name, [one for one in there if one != name], n=1):
        known += f"; {near[0]} is"
    return known
