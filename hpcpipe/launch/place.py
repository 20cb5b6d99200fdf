"""Whether a run directory and an output folder belong to a run, or are free: before it is made."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcpipe.config import CONFIG_FILE, Config
from hpcpipe.config.convert import field_types
from hpcpipe.config.resolve import is_tuning
from hpcpipe.errors import RunMismatchError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.marker import FOLDER, Marker, read_marker
from hpcpipe.manifest.rundir import RUN_FILE, RunDir, is_run_dir
from hpcpipe.runtime.access import owner_of


def check_place(config: Config) -> tuple[Path, bool, bool]:
    """Make sure that a config's run directory and output folder are its own, or free.

    Args:
        config: the config.

    Returns:
        The run directory, whether the run is still to be made there, and whether the output
        folder was another run's that is gone.

    Raises:
        RunMismatchError: one of them belongs to something else.
    """
    path = Path(config.run_dir)
    marker = read_marker(config.output, config.stage_name) if config.output_given else None
    if marker is not None:
        path = _check_marker(config, marker, path)
    is_free = not is_run_dir(path) and _is_free(path)
    if not is_free and RunDir(path).info.fingerprint != config.fingerprint:
        way = "Give another run_dir, or the same options to resume"
        raise _mismatch(f"run directory {path}", config, path, way)
    return path, is_free, marker is not None


def _check_marker(config: Config, marker: Marker, path: Path) -> Path:
    """Run directory that the output folder names; raises where it is not this config's."""
    owner = marker.run_path(config.output)
    if not is_run_dir(owner):
        is_same = marker.fingerprint == config.fingerprint
        if config.adopt or (is_same and (is_run_dir(path) or _is_bare(config.output))):
            return path
        raise RunMismatchError(
            f"stage.output {config.output} belongs to run {owner}, which is gone (or closed to "
            "you). If it was moved, name its new place with run_dir=PLACE; else give another "
            "stage.output, or take the folder over with adopt=true"
        )
    if marker.fingerprint != config.fingerprint:
        what = f"stage.output {config.output} belongs to run {owner}, which"
        way = (
            "Give another stage.output, or the same options to resume; to begin anew in this one, "
            "remove it first"
        )
        raise _mismatch(what, config, owner, way)
    if config.run_dir_given and owner != path.resolve():
        raise RunMismatchError(
            f"stage.output {config.output} belongs to run {owner}, not to run_dir {path}: "
            "leave run_dir out to go on with that run"
        )
    return owner


def _is_bare(output: str) -> bool:
    """Whether nothing but markers is in an output folder."""
    return not is_remote(output) and os.listdir(output) == [FOLDER]


def _mismatch(what: str, config: Config, other: Path, way: str) -> RunMismatchError:
    stored = _stored_options((other / CONFIG_FILE).read_text()), _stored_options(config.text)
    hints = field_types(type(config.stage))
    theirs, ours = (
        dict(_leaves({key: options[key] for key in options if not is_tuning(hints.get(key))}))
        for options in stored
    )
    keys = theirs.keys() | ours.keys()
    differing = {key for key in keys if theirs.get(key) != ours.get(key)}
    lines = [
        f"  stage.{key}: {_typed(theirs.get(key))} there, {_typed(ours.get(key))} here"
        for key in sorted(differing)
    ]
    if config.extend and differing == {"input"}:
        way = (
            "extend=true takes in what is new under the same stage.input, so name a folder or a "
            f"glob from the start. {way}"
        )
    return RunMismatchError(
        "\n".join(
            [
                f"{what} has other options than this command:",
                *(lines or ["  another stage"]),
                way,
            ]
        )
    )


def _leaves(options: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Options by dotted name."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def _typed(value: Any) -> str:
    """Write a value as one would type it: ``null``, ``true``, ``"text"``."""
    return json.dumps(value, ensure_ascii=False)


def _stored_options(text: str) -> dict[str, Any]:
    """Stage options as they are stored: values from the environment are not resolved."""
    from omegaconf import OmegaConf

    stored = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return dict(stored["stage"]) if isinstance(stored, dict) else {}


def _is_free(path: Path) -> bool:
    """Whether a run can be made there; False where one was made a moment ago, else raises."""
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise RunMismatchError(
            f"run_dir {path} belongs to {owner_of(path)} and is closed to you: give another run_dir"
        )
    names = os.listdir(path) if path.is_dir() else []
    if names or (path.exists() and not path.is_dir()):
        # Listed, since a network filesystem may remember for a while that there was no such file.
        if RUN_FILE in names:
            return False
        raise RunMismatchError(
            f"run_dir {path} exists and is no run directory: give a new or empty folder"
        )
    return True
