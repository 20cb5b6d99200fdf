"""Finding the run that somebody means: by its folder, its output folder, or its name."""

import difflib
import os
import sys
from pathlib import Path
from typing import Any, TypeVar

from hpcpipe.config import LAUNCHERS, Launcher, Resources, RunOptions, load
from hpcpipe.config.convert import build
from hpcpipe.config.stored import load_section
from hpcpipe.errors import ConfigError, RunMismatchError
from hpcpipe.formats.remote import filesystem, is_remote
from hpcpipe.formats.remote_errors import outages
from hpcpipe.manifest.marker import FOLDER, read_marker, read_markers
from hpcpipe.manifest.rundir import RunDir, is_run_dir
from hpcpipe.runtime.access import owner_of
from hpcpipe.stage import Stage

T = TypeVar("T")


def list_runs(folder: Path) -> list[Path]:
    """List the run directories in a folder of runs (``FOLDER/STAGE/NAME``).

    Args:
        folder: the folder; it need not exist.

    Returns:
        Run directories, the one that was launched last first.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [path for path in folder.glob("*/*") if path.name[0] != "." and is_run_dir(path)]
    return sorted(found, key=launched_at, reverse=True)


def launched_at(run_dir: Path) -> float:
    """Tell when workers of a run were started last.

    Args:
        run_dir: the run directory.

    Returns:
        Unix time in seconds; 0 for a damaged run directory.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return (run_dir / "launches").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def find_run(name: str, folder: Path) -> RunDir:
    """Find the run that is meant.

    Args:
        name: a run directory, an output folder that a run made, or a name below `folder`:
            ``STAGE/LABEL``, ``LABEL``, or what only one of them begins with.
        folder: folder of runs; it need not exist.

    Returns:
        The run.

    Raises:
        RunMismatchError: there is no such run, several could be meant, or it may not be read.
        OSError: a folder cannot be read.
    """
    path = Path(name).expanduser()
    if is_run_dir(path):
        return RunDir(path)
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise RunMismatchError(
            f"{name} may not be read by you; whoever owns it ({owner_of(path)}) can open it to "
            f"the group: chmod -R g+rwX {path}"
        )
    owners = _remote_owners(name) if is_remote(name) else _local_owners(path)
    if owners:
        return _owner(name, owners)
    runs = list_runs(folder)
    for matches in (_equal, _begins):
        found = [run for run in runs if matches(run, name)]
        if len(found) == 1:
            return RunDir(found[0])
        if found:
            raise RunMismatchError(
                f"{name} could be one of these runs; name one of them:\n"
                + "\n".join(f"  {run}" for run in found)
            )
    raise RunMismatchError(_nothing_found(name, path, folder, runs))


def _local_owners(path: Path) -> dict[str, Path]:
    return {m.stage: m.run_path(str(path.absolute())) for m in read_markers(path)}


def _remote_owners(url: str) -> dict[str, Path]:
    fs, key = filesystem(url)
    with outages(url):
        fs.invalidate_cache()
        stages = [found.rpartition("/")[2][:-5] for found in fs.glob(f"{key}/{FOLDER}/*.json")]
    markers = filter(None, (read_marker(url, stage) for stage in stages))
    return {marker.stage: marker.run_path(url) for marker in markers}


def _owner(name: str, owners: dict[str, Path]) -> RunDir:
    if len(owners) > 1:
        lines = [f"  {owner} ({stage})" for stage, owner in owners.items()]
        raise RunMismatchError("\n".join([f"several runs made {name}; name one of them:", *lines]))
    (owner,) = owners.values()
    if not is_run_dir(owner):
        raise RunMismatchError(
            f"{name} was made by run {owner}, which is gone: name the run directory if it was "
            "moved, or launch again with the same stage.output and adopt=true"
        )
    return RunDir(owner)


def _equal(run: Path, name: str) -> bool:
    return name.strip("/") in (run.name, f"{run.parent.name}/{run.name}")


def _begins(run: Path, name: str) -> bool:
    return run.name.startswith(name) or f"{run.parent.name}/{run.name}".startswith(name)


def _nothing_found(name: str, path: Path, folder: Path, runs: list[Path]) -> str:
    if path.is_dir():
        inside = [f"  {marker.parent}" for marker in sorted(path.glob(f"*/{FOLDER}"))]
        there = "\n".join(["; there are output folders in it:", *inside]) if inside else ""
        return (
            f"{name} is neither a run directory (it has no run.json) nor an output folder of one "
            f"(it has no .hpcpipe folder){there}"
        )
    near = difflib.get_close_matches(name, [run.name for run in runs], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"there is no run {name}: no such folder, and no run of that name in {folder}.{hint} "
        "python -m hpcpipe status lists the runs there; HPCPIPE_RUNS names another folder"
    )


def config_name(run: RunDir) -> str:
    """Name the configuration that counts now: the last launch's.

    Args:
        run: the run.

    Returns:
        Path in the run directory; the run's own where nothing was launched yet.

    Raises:
        OSError: the launches cannot be read.
    """
    numbers = sorted((int(p.stem) for p in run.launches.glob("*.yaml")), reverse=True)
    return f"launches/{numbers[0]}.yaml" if numbers else "config.yaml"


def is_own(run: RunDir) -> bool:
    """Tell whether a run is one's own, or the system's: its stage may be imported then.

    Args:
        run: the run.

    Returns:
        Whether its configuration is.

    Raises:
        OSError: it cannot be read.
    """
    return (run.path / config_name(run)).stat().st_uid in (os.getuid(), 0)


def own_stage(run: RunDir) -> Stage:
    """Import the stage of a run of one's own, from where its last launch found it.

    Args:
        run: the run.

    Returns:
        The stage with its options.

    Raises:
        ConfigError: the run is another's, whose code is not to be run; or cannot be imported.
        OSError: the run cannot be read.
    """
    if not is_own(run):
        raise ConfigError(
            f"{run.path} belongs to {owner_of(run.path)}: this imports the code of its stage, "
            "which is done for runs of one's own only"
        )
    folders = [launch.code.import_path for launch in run.read_launches()[-1:]]
    sys.path += [folder for folder in folders if folder and folder not in sys.path]
    return load(run.path, config_name(run)).stage


def read_options(run: RunDir) -> RunOptions:
    """Read how the run's shards are run, in the shortest way there is.

    Args:
        run: the run.

    Returns:
        The options of its last launch.

    Raises:
        ConfigError: the stored configuration is damaged.
        OSError: it cannot be read.
    """
    name = config_name(run)
    return _read_section(run, name, RunOptions, "run")


def read_resources(run: RunDir, name: str) -> Resources:
    """Read what one worker needs, without importing its stage.

    Args:
        run: the run.
        name: a stored configuration in it.

    Returns:
        The resources.

    Raises:
        ConfigError: the stored configuration is damaged.
        OSError: it cannot be read.
    """
    return _read_section(run, name, Resources, "resources")


def read_launcher(run: RunDir) -> Launcher:
    """Read how the workers of the last launch were started, without importing its stage.

    Args:
        run: the run.

    Returns:
        The launcher.

    Raises:
        ConfigError: the stored configuration is damaged.
        OSError: it cannot be read.
    """
    name = config_name(run)
    try:
        cls = LAUNCHERS[_tree(run, name)["launcher"]["kind"]]
    except (KeyError, TypeError):
        raise ConfigError(f"{run.path / name}: launcher.kind is damaged") from None
    return _read_section(run, name, cls, "launcher")


def _read_section(run: RunDir, name: str, cls: type[T], key: str) -> T:
    """A section of a stored configuration; nothing that stands in it is imported."""
    try:
        return build(cls, _tree(run, name)[key], key)
    except (ConfigError, TypeError, KeyError):
        # Values from the environment, for one: the long way resolves them or says what is wrong.
        return load_section(run.path, name, cls, key)


def _tree(run: RunDir, name: str) -> Any:
    """A stored configuration as plain values; None where it is no YAML."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load((run.path / name).read_bytes(), Loader=loader)
    except yaml.YAMLError:
        return None
