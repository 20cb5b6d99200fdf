"""Finding the run that a command means, or making it: never mixing two runs."""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpcpipe
from hpcpipe.config import CONFIG_FILE, Config
from hpcpipe.console import plural
from hpcpipe.errors import ConfigError, RunMismatchError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.marker import FOLDER, Marker, read_marker, write_marker
from hpcpipe.manifest.plan import MAX_BLOCKS, write_plan
from hpcpipe.manifest.rundir import FORMAT_VERSION, NewRunDir, RunDir, RunInfo, is_run_dir
from hpcpipe.runtime.access import owner_of
from hpcpipe.runtime.changes import extend_plan
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.planning import check_output_names, planned
from hpcpipe.runtime.results import check_outputs, collect_results, open_state
from hpcpipe.stage import Shard, Stage

logger = logging.getLogger(__name__)


def prepare(config: Config) -> tuple[RunDir, str]:
    """Find or make the run of a config.

    Args:
        config: the config.

    Returns:
        The run directory, and what was done in words for the user: ``new``, ``resumed`` or
        ``extended by ...``.

    Raises:
        RunMismatchError: the run directory or the output folder belongs to something else.
        PlanError: the shards cannot be listed.
        ConfigError: the run directory or output folder cannot be written.
    """
    path = Path(config.run_dir)
    marker = read_marker(config.output, config.stage_name) if config.output_given else None
    if marker is not None:
        path = _check_marker(config, marker, path)
    if not is_run_dir(path):
        _check_free(path)
        return _make(config, path, adopt=marker is not None), "new"
    run = RunDir(path)
    if run.info.fingerprint != config.fingerprint:
        raise _mismatch(f"run directory {path}", config, path)
    _check_output(run, config)
    if config.extend:
        num_new, num_changed = extend_plan(run, config)
        return run, f"extended by {plural(num_new, 'new shard')}, {num_changed:,} changed"
    return run, "resumed"


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
        raise _mismatch(
            f"stage.output {config.output} belongs to run {owner}, which", config, owner
        )
    if config.run_dir_given and owner != path.resolve():
        raise RunMismatchError(
            f"stage.output {config.output} belongs to run {owner}, not to run_dir {path}: "
            "leave run_dir out to go on with that run"
        )
    return owner


def _is_bare(output: str) -> bool:
    """Whether nothing but markers is in an output folder."""
    return not is_remote(output) and os.listdir(output) == [FOLDER]


def _check_output(run: RunDir, config: Config) -> None:
    """See to the output folder's marker, which may be gone, or name where the run was before."""
    output = run.info.output
    marker = read_marker(output, config.stage_name)
    if marker is None:
        _restore_output(run, config)
    elif not is_run_dir(marker.run_path(output)):
        _write_marker(output, _marker(config, run.path), overwrite=True)


def _restore_output(run: RunDir, config: Config) -> None:
    """The output folder's marker is gone: go on only if the recorded outputs are still there."""
    state, _ = open_state(run, config)
    results = collect_results(run, state).values()
    folder = OutputFolder(run.info.output, config.run.checksum)
    gone = sum(1 for _ in check_outputs(folder, results, deep=False))
    if gone:
        raise RunMismatchError(
            f"{plural(gone, 'output')} that run {run.path} recorded are gone from "
            f"{run.info.output} or changed. To have them made again: "
            f"python -m hpcpipe verify {run.path} --requeue, then this command"
        )
    _write_marker(run.info.output, _marker(config, run.path), overwrite=False)


def _mismatch(what: str, config: Config, other: Path) -> RunMismatchError:
    theirs, ours = _stored_options((other / CONFIG_FILE).read_text()), _stored_options(config.text)
    lines = [
        f"  stage.{key}: {_typed(theirs.get(key))} there, {_typed(ours.get(key))} here"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]
    return RunMismatchError(
        "\n".join(
            [
                f"{what} has other options than this command:",
                *(lines or ["  another stage"]),
                "Give another stage.output, run_name or run_dir, or the same options to resume",
            ]
        )
    )


def _typed(value: Any) -> str:
    """Write a value as one would type it: ``null``, ``true``, ``"text"``."""
    return json.dumps(value, ensure_ascii=False)


def _stored_options(text: str) -> dict[str, Any]:
    """Stage options as they are stored: values from the environment are not resolved."""
    from omegaconf import OmegaConf

    stored = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return dict(stored["stage"]) if isinstance(stored, dict) else {}


def _check_free(path: Path) -> None:
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise RunMismatchError(
            f"run_dir {path} belongs to {owner_of(path)} and is closed to you: give another run_dir"
        )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunMismatchError(
            f"run_dir {path} exists and is no run directory: give a new or empty folder"
        )


def _make(config: Config, path: Path, *, adopt: bool) -> RunDir:
    new = None
    try:
        new = NewRunDir(path)
        num_shards = write_plan(new.path / "plan.jsonl", _shards(config, new))
        _claim_output(config, new, adopt=adopt)
        return new.publish(_info(config, num_shards), config.text)
    except BaseException as error:
        if new is not None:
            new.discard()
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and (new is None or is_full):
            raise _cannot_be_made(path, error, is_full=is_full) from error
        raise


def _cannot_be_made(path: Path, error: OSError, *, is_full: bool) -> ConfigError:
    hint = "set HPCPIPE_RUNS to a writable shared folder"
    if is_full:
        hint = "free space or files there, or set HPCPIPE_RUNS to a folder with more room"
    return ConfigError(
        f"run directory {path} cannot be made: {error.strerror} ({error.filename}). "
        f"Give another run_dir, or {hint}"
    )


def _shards(config: Config, new: NewRunDir) -> Iterator[Shard]:
    shards = planned(config, new.path / "artifacts")
    return check_output_names(config, shards, config.output, {})


def _info(config: Config, num_shards: int) -> RunInfo:
    cls = type(config.stage)
    return RunInfo(
        format_version=FORMAT_VERSION,
        stage=config.stage_name,
        target=f"{cls.__module__}.{cls.__qualname__}",
        run_name=config.run_name,
        fingerprint=config.fingerprint,
        output=config.output if config.output_given else "out",
        block_size=max(1, -(-num_shards // MAX_BLOCKS)),
        has_finalize=cls.finalize is not Stage.finalize or not cls.deterministic,
        created_at=time.time(),
        version=hpcpipe.__version__,
    )


def _claim_output(config: Config, new: NewRunDir, *, adopt: bool) -> None:
    """Write the output folder's marker, which also shows that the folder can be written."""
    marker = _marker(config, new.final)
    output = config.output if config.output_given else str(new.path / "out")
    if not _write_marker(output, marker, overwrite=adopt):
        other = read_marker(output, config.stage_name)
        if other is not None and other != marker:
            raise RunMismatchError(
                f"stage.output {output} was just taken by run {other.run_path(output)}: if that "
                "was the same command, try again to go on with that run"
            )


def _marker(config: Config, run_dir: Path) -> Marker:
    owner = str(run_dir) if config.output_given else os.pardir
    return Marker(FORMAT_VERSION, config.stage_name, owner, config.run_name, config.fingerprint)


def _write_marker(output: str, marker: Marker, *, overwrite: bool) -> bool:
    try:
        return write_marker(output, marker, overwrite=overwrite)
    except OSError as error:
        hint = "" if is_remote(output) else " (a path of a shared filesystem is needed)"
        raise ConfigError(
            f"stage.output {output} cannot be written: {error.strerror or error}{hint}"
        ) from error
