"""Which code a run's shards are made by, and whether it changed on the way."""

import hashlib
import itertools
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import hpcpipe
from hpcpipe.console import plural
from hpcpipe.manifest.code import Code
from hpcpipe.manifest.identity import Identity
from hpcpipe.manifest.rundir import Launch
from hpcpipe.stage import Stage

GIT_TIMEOUT_S = 3.0


def code_of(stage: type[Stage], models: Mapping[str, str]) -> Code:
    """Find out what code runs here.

    Args:
        stage: the stage's class.
        models: commits of the models it loads, by name.

    Returns:
        The record; empty fields where something cannot be told.

    Raises:
        Nothing.
    """
    own, file = Path(hpcpipe.__file__), _source_file(stage)
    own_repository, repository = _repository(own), _repository(Path(file)) if file else None
    return Code(
        version=hpcpipe.__version__,
        commit=_commit(own_repository),
        stage_file=file,
        stage_hash=stage_hash(stage),
        stage_commit=_commit(repository) if repository != own_repository else "",
        import_path=_import_path(stage, file),
        models=dict(models),
    )


def stage_hash(stage: type[Stage]) -> str:
    """Hash the source of a stage's module.

    Args:
        stage: the stage's class.

    Returns:
        16 hex digits; empty where there is no source file.

    Raises:
        Nothing.
    """
    try:
        return hashlib.sha256(Path(_source_file(stage)).read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _source_file(stage: type[Stage]) -> str:
    file = getattr(sys.modules.get(stage.__module__), "__file__", None)
    return os.path.abspath(file) if file else ""


def _import_path(stage: type[Stage], file: str) -> str:
    """Folder that has to be searched for the stage's module, beside those of the interpreter."""
    parts = stage.__module__.split(".")
    path = Path(file)
    num_up = len(parts) - (path.stem != "__init__")
    if not file or parts[0] == "hpcpipe" or num_up >= len(path.parents):
        return ""
    folder = path.parents[num_up]
    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    return "" if folder in installed else str(folder)


def _repository(file: Path) -> Path | None:
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def _commit(repository: Path | None) -> str:
    """Commit of a repository, ``-dirty`` with changes; empty where git does not say so soon."""
    if repository is None:
        return ""
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            [*command, "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def changes(before: Code, now: Code) -> list[str]:
    """Say what differs between two launches' code.

    Args:
        before: the older record.
        now: the newer one.

    Returns:
        Texts such as ``stage.py changed``; none where nothing known differs.

    Raises:
        Nothing.
    """
    found = []
    if _differ(before.stage_hash, now.stage_hash):
        found.append(f"{now.stage_file} changed")
    if before.version and before.version != now.version:
        found.append(f"hpcpipe was {before.version}, is {now.version}")
    if _differ(before.commit, now.commit):
        found.append(f"hpcpipe's commit was {before.commit}, is {now.commit}")
    if _differ(before.stage_commit, now.stage_commit):
        found.append(f"the stage's commit was {before.stage_commit}, is {now.stage_commit}")
    for name, commit in now.models.items():
        if _differ(before.models.get(name, ""), commit):
            found.append(f"model {name} was at {before.models[name][:12]}, is at {commit[:12]}")
    return found


def _differ(before: str, now: str) -> bool:
    return bool(before and now and before != now)


def notes(launches: Sequence[Launch], workers: Iterable[Identity]) -> list[str]:
    """Say where the code changed in the course of a run.

    Args:
        launches: its launches in order.
        workers: its workers.

    Returns:
        A line for each launch with other code than the one before, and one for workers that found
        other code than their launch had.

    Raises:
        Nothing.
    """
    known = [launch for launch in launches if launch.code != Code()]
    lines = [
        f"other in launch {now.number} than in launch {before.number}: "
        + "; ".join(changes(before.code, now.code))
        for before, now in itertools.pairwise(known)
        if changes(before.code, now.code)
    ]
    recorded = {launch.number: launch.code for launch in known}
    late = Counter(
        worker.launch
        for worker in workers
        if worker.launch in recorded and _differ(recorded[worker.launch].stage_hash, worker.code)
    )
    lines += [
        f"{plural(number, 'worker')} of launch {launch} found {recorded[launch].stage_file} "
        "changed since it was launched"
        for launch, number in sorted(late.items())
    ]
    return lines
