"""The last step of a run: what two attempts may have written is read again, then finalize runs."""

import logging
from collections.abc import Callable, Iterable, Iterator

from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.claimer import Claimer
from hpcpipe.runtime.context import FinalizeContext, ShardContext
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.results import check_outputs
from hpcpipe.runtime.todo import Todo
from hpcpipe.stage import ShardResult, ShardStopped, Stage

logger = logging.getLogger(__name__)


class Finish:
    """Does the pseudo-shard `FINALIZE` for the worker that claimed it."""

    def __init__(
        self,
        stage: Stage,
        state: RunState,
        folder: OutputFolder,
        todo: Todo,
        claimer: Claimer,
        record: Callable[[Event], None],
    ) -> None:
        """Keep what is needed.

        Args:
            stage: the stage.
            state: the run's state.
            folder: the run's outputs.
            todo: tells whether the last step is still what comes next.
            claimer: reads what other workers wrote.
            record: writes to this worker's journal.

        Raises:
            Nothing.
        """
        self._stage = stage
        self._state = state
        self._folder = folder
        self._todo = todo
        self._claimer = claimer
        self._record = record

    def run(self, ctx: FinalizeContext) -> None:
        """Re-verify what more than one attempt may have written, then finalize.

        Args:
            ctx: context of the attempt.

        Raises:
            ShardStopped: shards are to be done before.
            Exception: whatever the stage raises.
        """
        # Shards that were added or reset before the claim was taken; who does either later sees
        # the claim and resets it.
        self._claimer.refresh()
        self._state.plan.refresh()
        if not self._todo.wants_finalize():
            raise ShardStopped
        if not type(self._stage).deterministic and self._reset_mismatches(ctx):
            raise ShardStopped
        self._stage.finalize(ctx)

    def _reset_mismatches(self, ctx: FinalizeContext) -> bool:
        """Reset shards whose files another attempt than the recorded one has written."""
        retried = self._state.retried()
        results = _with_progress(filter(None, map(ctx.result, retried)), ctx)
        bad = {f.shard_id for f in check_outputs(self._folder, results, deep=True)}
        for shard_id in sorted(bad):
            logger.warning("shard %s: its output is not the recorded attempt's", shard_id)
            attempt = self._state.done_attempt(shard_id)
            self._record(Event(event="reset", attempt=attempt, shard=shard_id))
        return bool(bad)


def _with_progress(results: Iterable[ShardResult], ctx: ShardContext) -> Iterator[ShardResult]:
    for num_read, result in enumerate(results):
        ctx.progress(num_read)
        yield result
