"""Finding the pipeline that somebody means: by its folder, its output folder, or its name."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hpcpipe.errors import RunMismatchError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.marker import FOLDER, read_markers
from hpcpipe.manifest.pipeline_dir import PipelineDir, is_pipeline_dir
from hpcpipe.manifest.rundir import is_run_dir


def named_pipeline(name: str | None, folder: Path) -> PipelineDir | None:
    """Find the pipeline that is meant, if it is one.

    Args:
        name: a pipeline directory, the folder that holds the output folders of its steps,
            ``NAME``, ``NAME/LABEL`` or the beginning of it, or a label.
        folder: folder of runs, where names are looked up; it need not exist.

    Returns:
        The pipeline; None where `name` is no pipeline, or the output folder of a single run.

    Raises:
        RunMismatchError: several could be meant, or it is damaged.
        OSError: a folder cannot be read.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if is_pipeline_dir(path):
        return PipelineDir(path)
    if is_run_dir(path) or (not is_remote(name) and read_markers(path)):
        return None
    found = _by_output(name, folder)
    if not found:
        found = [path for path in list_pipelines(folder) if _is_meant(path, name.rstrip("/"))]
    if len(found) > 1:
        # Nothing came of some, whose first step could not be planned: mistakes, mended since.
        found = [path for path in found if _has_begun(path)] or found
    if len(found) > 1:
        lines = [f"{name} could be one of these pipelines; name one of them:"]
        raise RunMismatchError("\n".join([*lines, *(f"  {path}" for path in found)]))
    return PipelineDir(found[0]) if found else None


def _has_begun(path: Path) -> bool:
    try:
        directory = PipelineDir(path)
        return bool(directory.read_jobs()) or any(s.find_run() for s in directory.info.steps)
    except RunMismatchError:
        return True


def _by_output(name: str, folder: Path) -> list[Path]:
    """Pipelines of which a step's output folder lies in this one."""
    folders = [folder]
    if not is_remote(name):
        path = Path(name).expanduser().absolute()
        if not path.is_dir():
            return []
        name = str(path.resolve())
        folders += _runs_folders(path)
    paths = dict.fromkeys(path for some in folders for path in list_pipelines(some))
    return [path for path in paths if name.rstrip("/") in _parents_of_outputs(path)]


def _runs_folders(path: Path) -> Iterator[Path]:
    """Where the runs are that made the folders in a folder: any, whatever HPCPIPE_RUNS says."""
    for found in path.glob(f"*/{FOLDER}"):
        for marker in read_markers(found.parent):
            yield marker.run_path(str(found.parent)).parent.parent


def _parents_of_outputs(path: Path) -> Iterable[str]:
    try:
        steps = PipelineDir(path).info.steps
    except RunMismatchError:
        return ()  # A damaged one must not stand in the way of all others.
    outputs = [step.output for step in steps]
    local = {str(Path(one).parent.resolve()) for one in outputs if not is_remote(one)}
    return local | {one.rstrip("/").rpartition("/")[0] for one in outputs if is_remote(one)}


def _is_meant(path: Path, name: str) -> bool:
    pipeline, _, label = name.partition("/")
    if label:
        return path.parent.name == pipeline and path.name.startswith(label)
    return name in (path.parent.name, path.name)


def list_pipelines(folder: Path) -> list[Path]:
    """List the pipeline directories in a folder of runs, the one launched last first.

    Args:
        folder: the folder; it need not exist.

    Returns:
        Their paths.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [path for path in folder.glob("*/*") if is_pipeline_dir(path)]
    return sorted(found, key=lambda path: (path / "jobs").stat().st_mtime, reverse=True)
