"""Finding the run that a command means, or making it: never mixing two runs."""

import errno
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import hpcpipe
from hpcpipe.config import Config
from hpcpipe.console import plural
from hpcpipe.errors import ConfigError, RunMismatchError
from hpcpipe.formats.remote import is_remote
from hpcpipe.launch.place import check_place
from hpcpipe.manifest.marker import Marker, read_marker, write_marker
from hpcpipe.manifest.new_rundir import NewRunDir
from hpcpipe.manifest.plan import MAX_BLOCKS, write_plan
from hpcpipe.manifest.rundir import FORMAT_VERSION, RunDir, RunInfo, is_run_dir
from hpcpipe.runtime.changes import extend_plan, retry_failures
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.planning import PlanContext, check_output_names, planned
from hpcpipe.runtime.remarks import write_remarks
from hpcpipe.runtime.results import check_outputs, collect_results, open_state
from hpcpipe.runtime.sources import NO_SOURCES, changed_sources, read_sources, write_sources
from hpcpipe.stage import Stage

logger = logging.getLogger(__name__)

_NO_FAILURES = "resumed, nothing failed that another try may mend"


def prepare(config: Config, sources: Mapping[str, str] = NO_SOURCES) -> tuple[RunDir, str]:
    """Find or make the run of a config.

    Args:
        config: the config.
        sources: digest of what the runs hold that this one reads from, by output folder.

    Returns:
        The run directory, and what was done in words for the user: ``new``, ``resumed`` or
        ``extended by ...``, or ``resumed, ...``.

    Raises:
        RunMismatchError: the run directory or the output folder belongs to something else, or
            the run was planned from other sources.
        PlanError: the shards cannot be listed.
        ConfigError: the run directory or output folder cannot be written.
    """
    path, is_free, adopt = check_place(config)
    if is_free and config.retry_failed:
        raise RunMismatchError(
            f"retry_failed=true: {path} is no run yet, so nothing of it has failed. Give the "
            "options that the run was made with, or leave retry_failed out to make a new one"
        )
    if is_free:
        try:
            return _make(config, path, sources, adopt=adopt), "new"
        except RunMismatchError:
            if not is_run_dir(path):
                raise
            # The same command made it meanwhile, and the files that seemed to be nobody's.
    run, how = RunDir(path), "resumed"
    _check_output(run, config)
    changed = changed_sources(run, sources)
    if config.extend and (changed or not sources or config.stage.extendable):
        num_new, num_changed = extend_plan(run, config)
        how = f"extended by {plural(num_new, 'new shard')}, {num_changed:,} changed"
    elif changed:
        raise _outdated(run, config, changed)
    elif config.retry_failed:
        how = _retried(*retry_failures(run, config))
    if sources and read_sources(run) != sources:
        write_sources(run.path, sources)
    return run, how


def _retried(num_new: int, num_again: int) -> str:
    if num_again:
        return f"resumed, {plural(num_again, 'shard')} with failures to be done again"
    return f"resumed, {plural(num_new, 'new shard')} of failures" if num_new else _NO_FAILURES


def _outdated(run: RunDir, config: Config, changed: Sequence[str]) -> RunMismatchError:
    hint = "to take that in, launch with extend=true"
    if not config.stage.extendable:
        hint = "new inputs would change every shard of this plan; for a new one give another output"
    return RunMismatchError(
        f"{', '.join(changed)} has changed since run {run.path} was planned: {hint}"
    )


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
        verb = "is" if gone == 1 else "are"
        raise RunMismatchError(
            f"{plural(gone, 'output')} that run {run.path} recorded {verb} gone from "
            f"{run.info.output} or changed. To have them made again: "
            f"python -m hpcpipe verify {run.path} --requeue, then this command"
        )
    _write_marker(run.info.output, _marker(config, run.path), overwrite=False)


def _make(config: Config, path: Path, sources: Mapping[str, str], *, adopt: bool) -> RunDir:
    new = None
    try:
        new = NewRunDir(path)
        ctx = PlanContext(new.path / "artifacts", config.stage_options)
        shards = check_output_names(config, planned(config, ctx), config.output, {})
        num_shards = write_plan(new.path / "plan.jsonl", shards)
        write_remarks(new.path, ctx.remarks)
        _claim_output(config, new, adopt=adopt)
        if sources:
            write_sources(new.path, sources)
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
