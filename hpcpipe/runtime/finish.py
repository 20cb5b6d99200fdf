"""The last step of a run: what two attempts may have written is read again, then finalize runs."""

import logging
from collections.abc import Callable, Iterable, Iterator

from hpcpipe.manifest.claims import Claims
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.claimer import Claim, Claimer
from hpcpipe.runtime.context import ShardContext
from hpcpipe.runtime.events import closed_event
from hpcpipe.runtime.finalize_context import FinalizeContext
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
        claims: Claims,
        claimer: Claimer,
        record: Callable[[Event], None],
    ) -> None:
        """Keep what is needed.

        Args:
            stage: the stage.
            state: the run's state.
            folder: the run's outputs.
            todo: tells whether the last step is still what comes next.
            claims: takes this worker's claims.
            claimer: reads what other workers wrote.
            record: writes to this worker's journal.

        Raises:
            Nothing.
        """
        self._stage = stage
        self._state = state
        self._folder = folder
        self._todo = todo
        self._claims = claims
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
        # the claim and resets it. Twice, since there is no order between journals: of an attempt
        # that is done by the first look, the second sees whatever was said before.
        self._claimer.refresh()
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
        late = self._fence_off(retried)
        self._claimer.refresh()
        results = list(filter(None, map(ctx.result, retried)))
        for result in results:
            attempts = late.get(self._state.block_name(result.shard_id), ())
            for output in result.outputs if attempts else ():
                self._folder.unstage(output.path, attempts)
        watched = _with_progress(results, ctx)
        bad = {f.shard_id for f in check_outputs(self._folder, watched, deep=True)}
        for shard_id in sorted(bad):
            logger.warning("shard %s: its output is not the recorded attempt's", shard_id)
            attempt = self._state.done_attempt(shard_id)
            self._record(Event(event="reset", attempt=attempt, shard=shard_id))
        return bool(bad)

    def _fence_off(self, shard_ids: list[str]) -> dict[str, range]:
        """Keep attempts from publishing that began after the one that counts, and go on still.

        Gives these attempts by block.
        """
        counting: dict[str, int] = {}
        for shard_id in shard_ids:
            block, attempt = self._state.block_name(shard_id), self._state.done_attempt(shard_id)
            counting[block] = min(attempt, counting.get(block, attempt))
        late = {}
        for block, attempt in counting.items():
            free = attempt + 1
            while self._claims.exists(block, free):
                free += 1
            if free == attempt + 1:
                continue
            while not self._claims.take(block, free):
                free += 1
            self._record(closed_event(Claim(block, free, []), None))
            late[block] = range(attempt + 1, free)
        return late


def _with_progress(results: Iterable[ShardResult], ctx: ShardContext) -> Iterator[ShardResult]:
    for num_read, result in enumerate(results):
        ctx.progress(num_read)
        yield result
