"""Making the plan of a run: listing inputs, checking output names, extending."""

import dataclasses
import fnmatch
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.config import Config, load
from hpcpipe.errors import ConfigError, PlanError, RunMismatchError, UpstreamIncompleteError
from hpcpipe.formats.listing import list_location
from hpcpipe.formats.remote import filesystem, is_remote
from hpcpipe.manifest.claims import last_attempts
from hpcpipe.manifest.files import fsync_dir, nonce
from hpcpipe.manifest.journal import FINALIZE, Event, JournalWriter
from hpcpipe.manifest.marker import FOLDER, read_markers
from hpcpipe.manifest.plan import Plan, plan_files, write_plan
from hpcpipe.manifest.rundir import RunDir, is_run_dir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.context import artifact_path
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.results import collect_results, open_state
from hpcpipe.stage import Input, Shard


class PlanContext:
    """What `Stage.plan` is handed."""

    def __init__(self, artifacts: Path) -> None:
        """Hold the folder for artifacts. Raises nothing."""
        self._artifacts = artifacts

    def artifact(self, name: str) -> Path:
        """Path of a file that plan writes and workers read. Raises ConfigError."""
        return artifact_path(self._artifacts, name)

    def list_inputs(self, location: str | list[str], suffixes: tuple[str, ...] = ()) -> list[Input]:
        """List input files in a fixed order; see `hpcpipe.stage.PlanContext`.

        Args:
            location: paths, folders, globs or URLs.
            suffixes: accepted endings for folders.

        Returns:
            The inputs.

        Raises:
            PlanError: a location matches nothing, or a recorded output is missing.
            UpstreamIncompleteError: the run that makes the folder is not complete.
        """
        inputs = list_location(location, suffixes)
        by_path = {item.path: item for item in inputs}
        for pattern in [location] if isinstance(location, str) else location:
            for run in _upstream_runs(pattern):
                recorded = _complete_outputs(run)
                missing = [p for p in recorded - by_path.keys() if _matches(p, pattern, suffixes)]
                if missing:
                    raise PlanError(
                        f"{min(missing)} is recorded by run {run.path} but is not there: "
                        f"python -m hpcpipe verify {run.path} --requeue"
                    )
                root = f"{run.info.output}/"
                inputs = [i for i in inputs if i.path in recorded or not i.path.startswith(root)]
        if not inputs:
            raise PlanError(f"nothing that a run recorded matches {location}")
        return inputs


def _upstream_runs(pattern: str) -> list[RunDir]:
    """Runs that made the folder a local location lies in."""
    if is_remote(pattern):
        return []
    base = Path(os.path.abspath(_fixed_part(pattern)))
    runs = []
    for folder in (base, *base.parents):
        if (folder / FOLDER).is_dir():
            paths = [marker.run_path(str(folder)) for marker in read_markers(folder)]
            runs += [RunDir(path) for path in paths if is_run_dir(path)]
    return runs


def _matches(path: str, pattern: str, suffixes: tuple[str, ...]) -> bool:
    pattern = os.path.abspath(pattern)
    if os.path.isdir(pattern):
        return os.path.dirname(path) == pattern and path.endswith(suffixes or ("",))
    return fnmatch.fnmatch(path, pattern)


def _fixed_part(pattern: str) -> str:
    parts = pattern.split("/")
    fixed = next((n for n, part in enumerate(parts) if set(part) & set("*?[{")), len(parts))
    return "/".join(parts[:fixed]) or "/"


def _complete_outputs(run: RunDir) -> set[str]:
    """Paths of a run's outputs, which must be complete."""
    config = dataclasses.replace(load(run.path), run=read_options(run))
    state, _ = open_state(run, config)
    counts = state.counts()
    allowed = config.run.max_failed_fraction * len(state.plan)
    if counts["pending"] or counts["quarantined"] > allowed:
        raise UpstreamIncompleteError(
            f"{run.info.output} is made by run {run.path}, which is not complete: "
            f"{counts['pending']} shards pending, {counts['quarantined']} quarantined. "
            f"Finish it first: python -m hpcpipe status {run.path}"
        )
    if run.info.has_finalize and not state.is_done(FINALIZE):
        raise UpstreamIncompleteError(
            f"{run.info.output} is made by run {run.path}, whose last step (finalize) is not "
            "done: launch it again"
        )
    results = collect_results(run, state).values()
    return {f"{run.info.output}/{file.path}" for result in results for file in result.outputs}


def planned(config: Config, artifacts: Path) -> Iterator[Shard]:
    """Ask the stage for its shards.

    Args:
        config: the run's config.
        artifacts: folder for the files the plan writes.

    Yields:
        The shards.

    Raises:
        PlanError: there is none, or the inputs are at fault.
        ConfigError: options and inputs do not fit.
    """
    shards = iter(config.stage.plan(PlanContext(artifacts)))
    first = next(shards, None)
    if first is None:
        raise PlanError(f"stage {config.stage_name} found nothing to do in {config.stage.input}")
    yield first
    yield from shards


def check_output_names(config: Config, shards: Iterator[Shard], root: str) -> Iterator[Shard]:
    """Pass shards on, refusing output names that are taken.

    Args:
        config: the run's config.
        shards: the plan.
        root: output folder.

    Yields:
        The same shards.

    Raises:
        RunMismatchError: a planned output exists already and belongs to no run.
        PlanError: two shards would write one file.
    """
    taken = set() if config.adopt else _existing_files(root)
    names: dict[str, str] = {}
    for shard in shards:
        for name in config.stage.planned_outputs(shard):
            if name in taken:
                raise RunMismatchError(
                    f"{root}/{name} exists already and no run of this output folder made it. "
                    "Give another stage.output, remove it, or overwrite such files with adopt=true"
                )
            other = names.setdefault(name, shard.id)
            if other != shard.id:
                raise PlanError(f"shards {other} and {shard.id} would both write {name}")
        yield shard


def _existing_files(root: str) -> set[str]:
    if is_remote(root):
        fs, key = filesystem(root)
        fs.invalidate_cache()
        prefix = len(key.rstrip("/")) + 1
        return {path[prefix:] for path in fs.find(key)} if fs.exists(key) else set()
    found: set[str] = set()
    for folder, _, names in os.walk(root):
        inner = os.path.relpath(folder, root)
        found.update(names if inner == "." else (f"{inner}/{name}" for name in names))
    return found


def extend_plan(run: RunDir, config: Config) -> tuple[int, int]:
    """Take in inputs that are new or changed since the run was planned.

    Args:
        run: the run.
        config: its config.

    Returns:
        (number of new shards, number of shards to be redone because their inputs changed).

    Raises:
        ConfigError: the stage's plan cannot be extended.
        PlanError: the plan cannot be made.
        RunMismatchError: somebody else extended the run at the same time.
        OSError: the run directory cannot be written.
    """
    if not config.stage.extendable:
        raise ConfigError(
            "extend=true: new inputs would change every shard of this plan; make a new run "
            "(another run_name and output)"
        )
    state, _ = open_state(run, config)
    with tempfile.TemporaryDirectory(prefix="hpcpipe-plan-") as unused_artifacts:
        shards = list(_news(state.plan, planned(config, Path(unused_artifacts))))
    if not shards:
        return 0, 0
    files = plan_files(run.path)
    final = run.path / f"plan-{len(files) + 1:04d}.jsonl"
    temp = run.path / f".{final.name}.{nonce()}"
    try:
        write_plan(temp, shards)
        os.link(temp, final)
    except FileExistsError:
        raise RunMismatchError(
            f"{run.path} was just extended by somebody else: try again"
        ) from None
    finally:
        temp.unlink(missing_ok=True)
    fsync_dir(run.path)
    changed = [shard.id for shard in shards if state.plan.index(shard.id) is not None]
    reset_shards(run, state, changed)
    return len(shards) - len(changed), len(changed)


def _news(plan: Plan, shards: Iterator[Shard]) -> Iterator[Shard]:
    for shard in shards:
        index = plan.index(shard.id)
        if index is None or plan.shard(index) != shard:
            yield shard


def reset_shards(run: RunDir, state: RunState, shard_ids: list[str]) -> None:
    """Make shards pending again, whatever became of them, and finalize with them.

    Args:
        run: the run.
        state: its state.
        shard_ids: the shards.

    Returns:
        Nothing.

    Raises:
        OSError: the journal cannot be written.
    """
    writer = JournalWriter(run.journal / f"reset-{nonce()}.jsonl")
    attempts = last_attempts(run.claims)
    ids = [*shard_ids, FINALIZE] if run.info.has_finalize else shard_ids
    events = (
        Event(event="reset", attempt=attempts.get(state.block_name(i), 0), shard=i, at=time.time())
        for i in ids
    )
    writer.write(*events)
    writer.close()
