"""Finding the pipeline that somebody means."""

from pathlib import Path

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.pipeline_dir import PipelineDir, is_pipeline_dir


def named_pipeline(name: str | None, folder: Path) -> PipelineDir | None:
    """Find the pipeline that is meant, if it is one.

    Args:
        name: a pipeline directory, ``NAME``, ``NAME/LABEL`` or the beginning of it, or a label.
        folder: folder of runs, where names are looked up; it need not exist.

    Returns:
        The pipeline; None where `name` is no pipeline.

    Raises:
        RunMismatchError: several could be meant, or it is damaged.
        OSError: a folder cannot be read.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if is_pipeline_dir(path):
        return PipelineDir(path)
    found = [path for path in list_pipelines(folder) if _is_meant(path, name.rstrip("/"))]
    if len(found) > 1:
        lines = [f"{name} could be one of these pipelines; name one of them:"]
        raise RunMismatchError("\n".join([*lines, *(f"  {path}" for path in found)]))
    return PipelineDir(found[0]) if found else None


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
