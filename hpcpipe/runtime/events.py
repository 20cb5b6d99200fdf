"""The journal lines a worker writes about its attempts."""

import logging
import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.manifest.files import printable
from hpcpipe.manifest.journal import Event
from hpcpipe.runtime.attempt import Outcome
from hpcpipe.runtime.claimer import Claim

logger = logging.getLogger(__name__)

MAX_ERROR_CHARS = 4000


def done_event(claim: Claim, shard_id: str, outcome: Outcome) -> Event:
    """Line for a finished shard. Raises nothing."""
    return Event(
        event="done",
        attempt=claim.attempt,
        shard=shard_id,
        seconds=round(outcome.seconds, 3),
        outputs=outcome.outputs,
        stats=_plain_stats(outcome.stats),
        num_samples=outcome.num_samples,
        bytes_in=outcome.bytes_in,
    )


def failed_event(claim: Claim, shard_id: str, error: BaseException, seconds: float) -> Event:
    """Line for a failure that is charged to the shard. Raises nothing."""
    return Event(
        event="failed",
        attempt=claim.attempt,
        shard=shard_id,
        seconds=round(seconds, 3),
        error=_error_text(error) or type(error).__name__,
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
        error=_error_text(error) if error else "",
        error_class=type(error).__name__ if error else "",
    )


def _error_text(error: BaseException) -> str:
    text = printable(str(error))
    return text if len(text) <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]} ..."


def _plain_stats(stats: Mapping[str, Any]) -> dict[str, int | float]:
    """Counters as JSON can say them: numpy's numbers, too, and nothing that is no number."""
    plain: dict[str, int | float] = {}
    for name, number in stats.items():
        value = int(number) if isinstance(number, Integral) else float(number)
        if not math.isfinite(value):
            logger.warning("counter %s is %s and is left out", name, value)
            continue
        plain[printable(name)] = value
    return plain


def worded(error: BaseException) -> str:
    """Write class and message of an exception, for people. Raises nothing."""
    name, message = type(error).__name__, str(error)
    return f"{name}: {message}" if message else name
