"""The journal lines a worker writes about its attempts."""

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.manifest.journal import Event
from hpcpipe.runtime.attempt import Outcome
from hpcpipe.runtime.claimer import Claim


def done_event(claim: Claim, shard_id: str, outcome: Outcome) -> Event:
    """Line for a finished shard. Raises nothing."""
    return Event(
        event="done",
        attempt=claim.attempt,
        shard=shard_id,
        seconds=round(outcome.seconds, 3),
        outputs=outcome.outputs,
        stats=outcome.stats,
    )


def failed_event(claim: Claim, shard_id: str, error: BaseException, seconds: float) -> Event:
    """Line for a failure that is charged to the shard. Raises nothing."""
    return Event(
        event="failed",
        attempt=claim.attempt,
        shard=shard_id,
        seconds=round(seconds, 3),
        error=str(error) or type(error).__name__,
        error_class=type(error).__name__,
        final=isinstance(error, BadInputError | ConfigError),
    )


def closed_event(claim: Claim, error: BaseException | None) -> Event:
    """Line for an attempt that ended with shards of its block left.

    Args:
        claim: the attempt.
        error: what the environment did to it; None where nothing.

    Returns:
        The event.

    Raises:
        Nothing.
    """
    return Event(
        event="closed",
        attempt=claim.attempt,
        block=claim.block,
        error=str(error) if error else "",
        error_class=type(error).__name__ if error else "",
    )
