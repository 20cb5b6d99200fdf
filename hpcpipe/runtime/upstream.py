"""Input folders that a run of ours made: listed from its manifest, and only once it is complete."""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from hpcpipe.console import plural, warn
from hpcpipe.errors import PlanError, UpstreamIncompleteError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.marker import FOLDER, read_markers
from hpcpipe.manifest.rundir import RunDir, is_run_dir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.results import collect_results, read_state
from hpcpipe.stage import Input


def only_recorded(
    inputs: list[Input], location: str | list[str], suffixes: tuple[str, ...]
) -> list[Input]:
    """Leave out files that lie among a run's outputs without being recorded by it.

    Args:
        inputs: what was listed.
        location: what it was listed by.
        suffixes: accepted endings.

    Returns:
        The inputs that count.

    Raises:
        PlanError: a recorded output is missing.
        UpstreamIncompleteError: a run that made some of the inputs is not complete.
    """
    for pattern in [location] if isinstance(location, str) else location:
        for run in _runs_above(pattern, inputs):
            inputs = _of_run(inputs, run, pattern, suffixes)
    return inputs


def recorded_below(folder: str) -> frozenset[str] | None:
    """Tell what runs of ours made in a folder.

    Args:
        folder: absolute path or URL.

    Returns:
        Paths of recorded outputs, relative to the folder; None where no run made any, and for URLs.

    Raises:
        UpstreamIncompleteError: a run that makes them is not complete.
        OSError: a run cannot be read.
    """
    inside = f"{os.path.realpath(folder)}/"
    found: set[str] | None = None
    for run in _runs_above(folder, []):
        options = read_options(run)
        state, _ = read_state(run, options)
        output = os.path.realpath(run.info.output)
        paths = (
            f"{output}/{file.path}"
            for result in collect_results(run, state).values()
            for file in result.outputs
        )
        made = {path[len(inside) :] for path in paths if path.startswith(inside)}
        if made or f"{output}/" == inside:
            _check_complete(run, state, options.max_failed_fraction)
            found = made | (found or set())
    return None if found is None else frozenset(found)


def _of_run(
    inputs: list[Input], run: RunDir, pattern: str, suffixes: tuple[str, ...]
) -> list[Input]:
    options = read_options(run)
    state, _ = read_state(run, options)
    results = collect_results(run, state).values()
    output = os.path.realpath(run.info.output)
    recorded = {f"{output}/{file.path}" for r in results for file in r.outputs}
    paths = _real_paths(inputs)
    listed = set(paths)
    missing = [p for p in recorded - listed if _matches(p, _real_pattern(pattern), suffixes)]
    if not missing and listed.isdisjoint(recorded):
        return inputs  # the run only happens to write into this folder
    _check_complete(run, state, options.max_failed_fraction)
    if missing:
        raise PlanError(
            f"{min(missing)} is recorded by run {run.path} but is not there: "
            f"python -m hpcpipe verify {run.path} --requeue"
        )
    inside = f"{output}/"
    strays = {path for path in listed - recorded if path.startswith(inside)}
    if strays:
        warn(
            f"left out: {plural(len(strays), 'file')} among the outputs of run {run.path} that it "
            f"did not make, {min(strays)} for one; put other inputs into a folder of their own"
        )
    return [item for item, path in zip(inputs, paths, strict=True) if path not in strays]


def _real_paths(inputs: list[Input]) -> list[str]:
    """Paths of inputs, links in their folders' followed: a run may be reached by several names."""
    splits = [os.path.split(item.path) for item in inputs]
    folders = {f: f if is_remote(f) else os.path.realpath(f) for f in {f for f, _ in splits}}
    return [f"{folders[folder]}/{name}" for folder, name in splits]


def _real_pattern(pattern: str) -> str:
    fixed = _fixed_part(pattern)
    return os.path.realpath(fixed) + os.path.abspath(pattern)[len(os.path.abspath(fixed)) :]


def _check_complete(run: RunDir, state: RunState, max_failed_fraction: float) -> None:
    counts = state.counts()
    allowed = max_failed_fraction * len(state.plan)
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


def _runs_above(pattern: str, inputs: list[Input]) -> list[RunDir]:
    """Runs that write to a folder in which inputs lie, or would by the pattern, or to one above."""
    if is_remote(pattern):
        return []
    listed = {os.path.dirname(item.path) for item in inputs if not is_remote(item.path)}
    bases = [Path(os.path.realpath(folder)) for folder in (_fixed_part(pattern), *sorted(listed))]
    runs: dict[Path, RunDir] = {}
    for folder in dict.fromkeys(above for base in bases for above in (base, *base.parents)):
        if (folder / FOLDER).is_dir():
            for path in (marker.run_path(str(folder)) for marker in read_markers(folder)):
                if is_run_dir(path):
                    runs[path] = RunDir(path)
                else:
                    warn(
                        f"{folder} was made by run {path}, which is gone or closed to you: its "
                        "files are taken as they are, complete or not"
                    )
    return list(runs.values())


def _matches(path: str, pattern: str, suffixes: tuple[str, ...]) -> bool:
    if os.path.isdir(pattern):
        return os.path.dirname(path) == pattern and path.endswith(suffixes or ("",))
    return _fits(path.split("/"), pattern.split("/"))


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, part by part; ``**`` is any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _fits(path, pattern[1:]) or (bool(path) and _fits(path[1:], pattern))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _fixed_part(pattern: str) -> str:
    parts = pattern.split("/")
    fixed = next((n for n, part in enumerate(parts) if set(part) & set("*?[{")), len(parts))
    return "/".join(parts[:fixed]) or "/"
