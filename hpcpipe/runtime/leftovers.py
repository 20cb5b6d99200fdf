"""What a run leaves behind that nobody needs: temporary files, pickles, old logs."""

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from hpcpipe.formats.remote import display, is_remote
from hpcpipe.formats.remote_uploads import Upload, abort_upload, begun_uploads
from hpcpipe.manifest.marker import FOLDER, read_markers
from hpcpipe.manifest.pipeline_dir import PipelineDir
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.find import is_own, own_stage, read_options
from hpcpipe.runtime.partial import FOLDER as PARTIAL
from hpcpipe.runtime.partial import orphans
from hpcpipe.runtime.results import read_state
from hpcpipe.runtime.scratch import dead_folders, scratch_root

OLD_S = 24 * 3600.0
_PART = re.compile(r"\.(?P<name>.+)\.\d+\.part")
_NONCE = r"\.[0-9a-f]{8}"

Kind = Literal[
    "saved progress",
    "temporary file",
    "unfinished run folder",
    "unfinished upload",
    "scratch folder",
    "pickle",
    "log",
]


class Leftover(NamedTuple):
    """One thing that may go.

    Attributes:
        kind: what it is.
        path: file, folder or URL.
        num_bytes: its size, everything in it included; 0 where that is not known.
        upload: the unfinished upload that it is.
    """

    kind: Kind
    path: Path | str
    num_bytes: int
    upload: Upload | None = None


def find_leftovers(run: RunDir, *, logs: bool) -> Iterator[Leftover]:
    """Find what may be removed while no worker of the run lives and none is queued.

    Args:
        run: the run.
        logs: old logs, too.

    Yields:
        Leftovers; never outputs, plans, claims, journals or workers' files.

    Raises:
        HpcPipeError: the run is damaged.
        OSError: a folder cannot be read.
    """
    yield from _parts(run)
    yield from _saved_progress(run)
    yield from _uploads(run)
    yield from _scratch(run)
    for folder in (run.path, run.launches, Path(run.info.output, FOLDER)):
        yield from _old("temporary file", folder, re.compile(r"\..+" + _NONCE))
    unfinished = re.compile(re.escape(f".{run.path.name}") + _NONCE)
    yield from _old("unfinished run folder", run.path.parent, unfinished)
    for path in sorted(run.path.glob("submitit/*/*.pkl")):
        yield _leftover("pickle", path)
    if logs:
        patterns = ("logs/*", "submitit/*/*_log.out", "submitit/*/*_log.err")
        for path in sorted(path for pattern in patterns for path in run.path.glob(pattern)):
            yield _leftover("log", path)


def find_pipeline_leftovers(directory: PipelineDir, *, logs: bool) -> Iterator[Leftover]:
    """Find what may be removed of a pipeline and all its steps while nothing of it is queued.

    Args:
        directory: the pipeline.
        logs: old logs, too.

    Yields:
        Leftovers; never submissions and what became of them.

    Raises:
        HpcPipeError: a run is damaged.
        OSError: a folder cannot be read.
    """
    for run in filter(None, (step.find_run() for step in directory.info.steps)):
        yield from find_leftovers(run, logs=logs)
    for folder in (directory.path, directory.jobs, directory.plans):
        yield from _old("temporary file", folder, re.compile(r"\..+" + _NONCE))
    # The arrays' files are found as those of the runs, which have links to them, if these began.
    for path in sorted(directory.path.glob("submitit/*/*/*.pkl")):
        yield _leftover("pickle", path)
    for path in sorted(directory.path.glob("submitit/*/*/*_log.*")) if logs else ():
        yield _leftover("log", path)


def remove(leftover: Leftover) -> None:
    """Remove one leftover.

    Args:
        leftover: what to remove; already gone is fine.

    Returns:
        Nothing.

    Raises:
        HpcPipeError: the store does not let it go.
        OSError: it cannot be removed.
    """
    path = Path(leftover.path)
    if leftover.upload is not None:
        abort_upload(leftover.upload)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _parts(run: RunDir) -> Iterator[Leftover]:
    """Staged outputs of attempts that never committed."""
    root = Path(run.info.output)
    if is_remote(run.info.output) or not root.is_dir():
        return
    own = _own_names(run) if len(read_markers(root)) > 1 else None
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            match = _PART.fullmatch(name)
            final = match and os.path.relpath(os.path.join(folder, match["name"]), root)
            if final and (own is None or final in own):
                yield _leftover("temporary file", Path(folder, name))


def _saved_progress(run: RunDir) -> Iterator[Leftover]:
    """Progress inside shards that no attempt will go on from."""
    root = run.path / PARTIAL
    if root.is_dir():
        state, _ = read_state(run, read_options(run))
        yield from (_leftover("saved progress", path) for path in orphans(root, state))


def _uploads(run: RunDir) -> Iterator[Leftover]:
    """Uploads of outputs that no worker finished; somebody else may be at younger ones."""
    if is_remote(run.info.output):
        for upload in begun_uploads(run.info.output):
            if time.time() - upload.began_at > OLD_S:
                yield Leftover("unfinished upload", display(upload.url), 0, upload)


def _scratch(run: RunDir) -> Iterator[Leftover]:
    """Node-local folders of this run's dead workers, as far as they were on this machine."""
    root = scratch_root(read_options(run).scratch)
    if root.is_dir():
        for path, owner in dead_folders(root):
            if owner.run_dir == str(run.path):
                yield _leftover("scratch folder", path)


def _own_names(run: RunDir) -> set[str]:
    """Planned output names, which tell this run's files from another stage's in the folder.

    Only the stage knows them, and it is imported for nobody else's run.
    """
    if not is_own(run):
        return set()
    stage = own_stage(run)
    shards = Plan(run.path, run.info.block_size).shards()
    return {name for shard in shards for name in stage.planned_outputs(shard)}


def _old(kind: Kind, folder: Path, pattern: re.Pattern[str]) -> Iterator[Leftover]:
    """Temporary names that are older than a day: somebody may be at work on younger ones."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if pattern.fullmatch(entry.name) is None:
                continue
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD_S:
                yield _leftover(kind, Path(entry.path))


def _leftover(kind: Kind, path: Path) -> Leftover:
    return Leftover(kind, path, _num_bytes(path))


def _num_bytes(path: Path) -> int:
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        return info.st_size
    return sum(_num_bytes(inner) for inner in path.iterdir())
