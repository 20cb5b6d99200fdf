"""What a stage is handed for the last step of a run: a shard context over all shards."""

from collections.abc import Callable, Iterator
from pathlib import Path

from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import Partials
from hpcpipe.stage import OutputFile, Shard, ShardResult


class FinalizeContext(ShardContext):
    """What `Stage.finalize` is handed: a shard context that also sees the whole run."""

    def __init__(
        self,
        plan: Plan,
        read_results: Callable[[], dict[str, ShardResult]],
        attempt: int,
        folder: OutputFolder,
        scratch_root: Path,
        artifacts: Path,
        partials: Partials,
        should_stop: Callable[[], bool],
    ) -> None:
        """Begin an attempt.

        Args:
            plan: the run's plan.
            read_results: gives finished shards by id; called when one is first asked for.
            attempt: its number.
            folder: where outputs go.
            scratch_root: node-local folder of the worker.
            artifacts: ``RUN_DIR/artifacts``.
            partials: the last step's saved progress.
            should_stop: whether the worker was told to stop.

        Raises:
            Nothing.
        """
        super().__init__(FINALIZE, attempt, folder, scratch_root, artifacts, partials, should_stop)
        self._plan = plan
        self._read_results = read_results
        self._results: dict[str, ShardResult] | None = None

    def shards(self) -> Iterator[Shard]:
        """The plan, in order. Raises nothing."""
        return self._plan.shards()

    def result(self, shard_id: str) -> ShardResult | None:
        """The result of one shard; None for one that is quarantined. Raises KeyError."""
        if self._plan.index(shard_id) is None:
            raise KeyError(shard_id)
        if self._results is None:
            self._results = self._read_results()
        return self._results.get(shard_id)

    def open_path(self, output: OutputFile) -> str:
        """Absolute path or URL of a finished output. Raises nothing."""
        return self._folder.open_path(output.path)
