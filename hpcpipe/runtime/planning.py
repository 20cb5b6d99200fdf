"""Making the plan of a run: listing inputs, checking output names.

Planning again for a run that exists is in ``replanning`` and ``changes``.
"""

import inspect
import itertools
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcpipe.config import Config
from hpcpipe.config.secrets import ADVICE, has_password
from hpcpipe.console import visible
from hpcpipe.errors import HpcPipeError, PlanError, RunMismatchError
from hpcpipe.formats.listing import list_location
from hpcpipe.formats.remote import filesystem, is_remote
from hpcpipe.formats.remote_errors import outages
from hpcpipe.manifest.files import printable
from hpcpipe.runtime.context import artifact_path
from hpcpipe.runtime.upstream import only_recorded, recorded_below
from hpcpipe.stage import Input, Shard


class PlanContext:
    """What `Stage.plan` is handed.

    Attributes:
        remarks: what the stage has said to people.
    """

    def __init__(self, artifacts: Path, options: Mapping[str, Any]) -> None:
        """Hold the folder for artifacts, and the stage's options. Raises nothing."""
        self._artifacts = artifacts
        self._options = options
        self.remarks: list[str] = []

    def recorded(self, folder: str) -> frozenset[str] | None:
        """Tell what runs of ours made in a folder; see `hpcpipe.stage.PlanContext`.

        Args:
            folder: absolute path or URL.

        Returns:
            Paths relative to it; None where no run made it.

        Raises:
            UpstreamIncompleteError: the run that makes it is not complete.
        """
        return recorded_below(folder)

    def remark(self, text: str) -> None:
        """Say something of the plan to people. Raises nothing."""
        self.remarks.append(visible(printable(" ".join(text.split()))))

    def artifact(self, name: str) -> Path:
        """Path of a file that plan writes and workers read. Raises ConfigError."""
        return artifact_path(self._artifacts, name)

    def planned(self) -> Iterator[Shard]:
        """The shards the run has already: none, it is being made. Raises nothing."""
        return iter(())

    def planned_artifact(self, name: str) -> Path | None:
        """Path of a file that an earlier plan wrote: there was none. Raises ConfigError."""
        self.artifact(name)
        return None

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
        try:
            inputs = list_location(location, suffixes)
        except PlanError as error:
            names = [f"stage.{key}: " for key, value in self._options.items() if value == location]
            raise PlanError(f"{''.join(names[:1])}{error}") from error
        return only_recorded(inputs, location, suffixes)


def planned(config: Config, ctx: PlanContext) -> Iterator[Shard]:
    """Ask the stage for its shards.

    Args:
        config: the run's config.
        ctx: what the stage is handed.

    Yields:
        The shards.

    Raises:
        PlanError: there is none, or the inputs are at fault.
        ConfigError: options and inputs do not fit.
    """
    shards = of_stage(config, lambda: config.stage.plan(ctx))
    first = next(shards, None)
    if first is None:
        raise PlanError(f"stage {config.stage_name} found nothing to do in {config.stage.input}")
    yield from itertools.chain((first,), shards)


def of_stage(config: Config, plan: Callable[[], Iterable[Shard]]) -> Iterator[Shard]:
    """Take shards from the stage; what its own code raises is told with the line of it that did.

    Args:
        config: the run's config.
        plan: has the stage list them.

    Yields:
        The shards.

    Raises:
        PlanError: the stage fails, or a shard's input is a URL with a password.
        HpcPipeError: whatever the stage raises of these.
        OSError: the same.
    """
    try:
        for shard in plan():
            if any("@" in item.path and has_password(item.path) for item in shard.inputs):
                raise PlanError(f"shard {shard.id}: {ADVICE}")
            yield shard
    except (HpcPipeError, OSError):
        raise
    except Exception as error:
        file = inspect.getsourcefile(type(config.stage))
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == file
        ]
        where = f" ({file}, line {lines[-1]}; HPCPIPE_DEBUG=1 shows all)" if lines else ""
        raise PlanError(
            f"stage {config.stage_name} cannot plan: {type(error).__name__}: {error}{where}"
        ) from error


def check_output_names(
    config: Config, shards: Iterator[Shard], root: str, known: Mapping[str, str]
) -> Iterator[Shard]:
    """Pass shards on, refusing output names that are taken.

    Args:
        config: the run's config.
        shards: the plan.
        root: output folder.
        known: output names of shards that were planned before, with their ids.

    Yields:
        The same shards.

    Raises:
        RunMismatchError: a planned output exists already and belongs to no run.
        PlanError: two shards would write one file.
    """
    there: set[str] | None = None
    names, guard = dict(known), _Guard()
    for shard in shards:
        if there is None:  # looked up late: extending mostly finds no shard that is new
            there = _existing_files(root)
        for name in config.stage.planned_outputs(shard):
            if name in there and name not in known:
                guard.check(f"{root}/{name}", shard, adopt=config.adopt)
            other = names.setdefault(name, shard.id)
            if other != shard.id:
                raise PlanError(f"shards {other} and {shard.id} would both write {name}")
        guard.note(shard)
        yield shard
    guard.check_inputs()


class _Guard:
    """Keeps files that exist from being overwritten; inputs are never given up."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[int, int], str] = {}
        self._inputs: list[str] = []

    def note(self, shard: Shard) -> None:
        self._inputs.extend(item.path for item in shard.inputs)

    def check(self, path: str, shard: Shard, *, adopt: bool) -> None:
        if path in {item.path for item in shard.inputs}:
            raise _overwrites_input(path)
        if not adopt:
            raise RunMismatchError(
                f"{path} exists already and no run of this output folder made it. "
                "Give another stage.output, remove it, or overwrite such files with adopt=true"
            )
        if not is_remote(path):
            stat = os.stat(path)
            self._outputs[stat.st_dev, stat.st_ino] = path

    def check_inputs(self) -> None:
        """Compare files, not names: a folder may be reached by another path."""
        if not self._outputs:
            return
        for path in self._inputs:
            if not is_remote(path):
                stat = os.stat(path)
                if (stat.st_dev, stat.st_ino) in self._outputs:
                    raise _overwrites_input(path)


def _overwrites_input(path: str) -> RunMismatchError:
    return RunMismatchError(
        f"this run would overwrite its own input {path}: give stage.output another folder"
    )


def _existing_files(root: str) -> set[str]:
    if is_remote(root):
        fs, key = filesystem(root)
        prefix = len(key.rstrip("/")) + 1
        with outages(root):
            fs.invalidate_cache()
            return {path[prefix:] for path in fs.find(key)} if fs.exists(key) else set()
    found: set[str] = set()
    for folder, _, names in os.walk(root):
        inner = os.path.relpath(folder, root)
        found.update(names if inner == "." else (f"{inner}/{name}" for name in names))
    return found
