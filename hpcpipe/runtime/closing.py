"""The end of a run: a last snapshot, and then its claims go."""

import logging
import random

from hpcpipe.config import RunOptions
from hpcpipe.manifest.claims import last_attempts
from hpcpipe.manifest.claims_folder import close_claims
from hpcpipe.manifest.compaction import write_snapshot
from hpcpipe.manifest.files import nonce
from hpcpipe.manifest.journal import FINALIZE, Event, JournalWriter
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.exit_code import state_code
from hpcpipe.runtime.workers import is_running, worker_names

logger = logging.getLogger(__name__)


def close_if_over(run: RunDir, options: RunOptions, state: RunState) -> bool:
    """Close a run once nothing is left to do and nobody is at work: so the last one leaves it.

    Of two who leave at the same time each says first that it has ended and looks then: at least
    one of them sees that all have.

    Args:
        run: the run.
        options: how its shards are run.
        state: its state as the caller knows it.

    Returns:
        Whether it is over. Where it cannot be written it stays open, which is logged.

    Raises:
        HpcPipeError: the run is damaged.
    """
    try:
        if not _is_over(run, options, state) or _is_anybody_at_work(run, options.lease_s):
            return False
        if run.claims.is_dir():
            limits = options.max_attempts, options.max_lost
            latest, _ = write_snapshot(run, state.plan, *limits)
            if not _is_over(run, options, latest):
                return False
            _end_unknown_attempts(run, latest)
        close_claims(run.path)
    except OSError as error:
        logger.warning("the run is over, and its claims are left over: %s", error)
        return False
    return True


def _is_over(run: RunDir, options: RunOptions, state: RunState) -> bool:
    return state_code(state, options, has_finalize=run.info.has_finalize) in (0, 3)


def _is_anybody_at_work(run: RunDir, lease_s: float) -> bool:
    """Look at the workers in any order: while many are at work, one of them is soon found."""
    names = worker_names(run)
    random.shuffle(names)
    return any(is_running(run, name, lease_s) for name in names)


def _end_unknown_attempts(run: RunDir, state: RunState) -> None:
    """Journal attempts that only claims know of, lest their numbers are used again."""
    unknown = [
        Event("closed", attempt, block=block)
        for block, attempt in last_attempts(run.claims).items()
        if (block == FINALIZE or int(block) < state.plan.num_blocks)
        and attempt > state.last_attempt(block)
    ]
    if unknown:
        writer = JournalWriter(run.journal / f"closing-{nonce()}.jsonl")
        writer.write(*unknown)
        writer.close()
