"""What a stage is handed where it plans for a run that exists, and where its new artifacts go."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcpipe.manifest.files import FOLDER_MODE, NO_LINKS, fsync_dir, nonce
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.context import artifact_path
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.planning import PlanContext
from hpcpipe.runtime.results import iter_results
from hpcpipe.stage import OutputFile, Shard, ShardResult


class ReplanContext(PlanContext):
    """What `Stage.plan` is handed to extend a run."""

    def __init__(
        self, artifacts: Path, options: Mapping[str, Any], run: RunDir, plan: Plan
    ) -> None:
        """Hold what is given.

        Args:
            artifacts: folder for new artifacts.
            options: the stage's options.
            run: the run.
            plan: its plan so far.

        Raises:
            Nothing.
        """
        super().__init__(artifacts, options)
        self._run = run
        self._plan = plan

    def planned(self) -> Iterator[Shard]:
        """The shards the run has already, in order. Raises nothing."""
        return self._plan.shards()

    def planned_artifact(self, name: str) -> Path | None:
        """Path of a file that an earlier plan wrote; None for no such file. Raises ConfigError."""
        path = artifact_path(self._run.artifacts, name)
        return path if path.is_file() else None


class RetryContext(ReplanContext):
    """What `Stage.plan_retries` is handed."""

    def __init__(
        self,
        artifacts: Path,
        options: Mapping[str, Any],
        run: RunDir,
        state: RunState,
        folder: OutputFolder,
    ) -> None:
        """Hold what is given.

        Args:
            artifacts: folder for new artifacts.
            options: the stage's options.
            run: the run.
            state: its state; only what is done by it is looked at.
            folder: its output folder.

        Raises:
            Nothing.
        """
        super().__init__(artifacts, options, run, state.plan)
        self._state = state
        self._folder = folder

    def results(self) -> Iterator[ShardResult]:
        """The results of finished shards, in no particular order. Raises OSError."""
        results = iter_results(self._run, self._state)
        return (result for result in results if result.shard_id != FINALIZE)

    def open_path(self, output: OutputFile) -> str:
        """Absolute path or URL of a finished output. Raises nothing."""
        return self._folder.open_path(output.path)


@contextlib.contextmanager
def new_artifacts(run: RunDir) -> Iterator[Path]:
    """A folder for the artifacts of a plan in the making, beside those of the run.

    Args:
        run: the run.

    Yields:
        The folder; what is still in it afterwards is removed.

    Raises:
        OSError: it cannot be made.
    """
    folder = run.path / f".artifacts.{nonce()}"
    folder.mkdir(FOLDER_MODE)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_artifacts(run: RunDir, folder: Path) -> None:
    """Give new artifacts to the run, durably; those that it has already stay as they are.

    Args:
        run: the run.
        folder: what `new_artifacts` gave.

    Raises:
        OSError: they cannot be moved.
    """
    for path in sorted(folder.iterdir()):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_IWOTH)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        final = run.artifacts / path.name
        try:
            os.link(path, final)
        except OSError as error:
            if error.errno == errno.EEXIST:
                continue
            if error.errno not in NO_LINKS:
                raise
            if not final.exists():
                os.rename(path, final)
    fsync_dir(run.artifacts)
