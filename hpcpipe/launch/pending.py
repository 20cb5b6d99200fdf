"""A run that is about to be started, and the record of its start."""

import os
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

from hpcpipe.config import Config, Site
from hpcpipe.manifest.files import FOLDER_MODE, replace
from hpcpipe.manifest.journal import Brief, JournalReader
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.models.hub import commits
from hpcpipe.runtime.access import user_name
from hpcpipe.runtime.code import code_of


class Pending(NamedTuple):
    """A prepared run with what is left to do.

    Attributes:
        run: the run directory.
        config: the config of this launch.
        state: the run's state.
        reader: the reader that `state` was made with.
        num_pending: shards to be done in this launch.
        bad_nodes: nodes that workers are to be kept from.
    """

    run: RunDir
    config: Config
    state: RunState
    reader: JournalReader[Brief]
    num_pending: int
    bad_nodes: list[str] = []  # noqa: RUF012 - never written to


def show(path: Path) -> str:
    """Write a path as short as it can be typed from the current folder. Raises nothing."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def new_launch(
    pending: Pending, kind: str, num_workers: int, workers_per_job: int = 1, max_jobs: int = 0
) -> Launch:
    """Record a launch before anything of it is started, with the config its workers read.

    Args:
        pending: the run.
        kind: kind of launch.
        num_workers: workers that will be started.
        workers_per_job: workers that share a job.
        max_jobs: jobs of its array that may run at a time; 0 for all.

    Returns:
        The launch.

    Raises:
        OSError: the run directory cannot be written.
    """
    run, config = pending.run, pending.config
    launch = run.add_launch(
        Launch(
            number=0,
            kind=kind,
            num_workers=num_workers,
            workers_per_job=workers_per_job,
            max_jobs=max_jobs,
            limit=config.limit,
            cwd=os.getcwd(),
            user=user_name(),
            host=socket.gethostname(),
            pid=os.getpid(),
            at=time.time(),
            command=own_arguments(),
            code=code_of(type(config.stage), commits(config.stage.models())),
        )
    )
    replace(run.launches / f"{launch.number}.yaml", config.text.encode())
    return launch


def own_arguments() -> tuple[str, ...]:
    """Arguments of this process, where it is the hpcpipe command. Raises nothing."""
    program = Path(sys.argv[0])
    is_ours = program.name == "hpcpipe" or program.parts[-2:] == ("hpcpipe", "__main__.py")
    return tuple(sys.argv[1:]) if is_ours else ()


def python_command(site: Site) -> str:
    """Command that runs Python in a job, for a shell. Raises nothing."""
    return site.python or shlex.quote(sys.executable)


def make_private(folder: Path) -> None:
    """Make a folder for pickles, which whoever can write them could have us run.

    Args:
        folder: a new folder; the one above it is made too where it is missing.

    Returns:
        Nothing.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    folder.mkdir(0o770)
