"""Every error hpcpipe raises on purpose, as one tree.

    HpcPipeError
    ├── ConfigError              an option is unknown, missing or of the wrong type or value
    ├── PlanError                the list of shards cannot be made (no input, equal ids)
    ├── UpstreamIncompleteError  an input folder's own run is not complete yet
    ├── RunMismatchError         a run directory or output folder belongs to something else
    ├── LaunchError              workers could not be submitted or started
    ├── SetupError               a worker cannot start work at all (no GPU, a model is missing)
    ├── OutageError              what is needed is not there now, through no fault of a shard's
    └── ShardError               one shard could not be done
        ├── TransientShardError  may work another time: tried again with backoff
        │   └── TimeLimitError   took longer than its worker's job may last
        └── BadInputError        the data is at fault: not tried again, quarantined with its reason

Messages say what is wrong, where (``stage.shard_bytes``, a file, a byte offset) and what to do.
Errors of the environment (full disk, stale file handle) are never charged to a shard. Where they
come as the ``OSError`` they are, `is_environment_error` tells them apart.
"""

import errno
from collections.abc import Iterator

ENVIRONMENT_ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.ESTALE,
        errno.EROFS,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EREMOTEIO,
        errno.ENOLINK,
        errno.ECOMM,
        errno.EUCLEAN,
        # Tickets for a filesystem that have run out, or were never had on this node.
        errno.ENOKEY,
        errno.EKEYEXPIRED,
        errno.EKEYREVOKED,
        errno.EKEYREJECTED,
    }
)


class HpcPipeError(Exception):
    """Base of all errors meant for the user; its text is the whole message.

    Attributes:
        exit_code: what the command exits with when this error ends it.
    """

    exit_code = 2


class ConfigError(HpcPipeError):
    """An option is unknown, missing, or of the wrong type or value."""


class PlanError(HpcPipeError):
    """The list of shards cannot be made."""


class UpstreamIncompleteError(HpcPipeError):
    """The run that makes this stage's input is not complete."""

    exit_code = 4


class RunMismatchError(HpcPipeError):
    """A run directory or output folder belongs to another run."""


class LaunchError(HpcPipeError):
    """Workers could not be submitted or started."""


class SetupError(HpcPipeError):
    """A worker cannot start work at all; it takes no shard."""


class OutageError(HpcPipeError):
    """What is needed is not there now; it is charged to nobody, and tried again later."""

    exit_code = 4


class ShardError(HpcPipeError):
    """One shard could not be done."""


class TransientShardError(ShardError):
    """May work another time: the shard is tried again with backoff."""


class TimeLimitError(TransientShardError):
    """The shard took longer than a whole job, and no progress was saved."""


class BadInputError(ShardError):
    """The data is at fault: the shard is quarantined with this reason."""


def is_environment_error(error: BaseException) -> bool:
    """Tell whether an error is the machine's or filesystem's fault rather than the shard's.

    Args:
        error: any exception; its causes and contexts are looked at too, and what a group holds.

    Returns:
        True for `OutageError`, for ENOSPC, EDQUOT, EIO, ESTALE, EROFS and their like, and for
        MemoryError: a worker that leaks memory must not use up the attempts of every shard.

    Raises:
        Nothing.
    """
    return any(
        isinstance(one, MemoryError | OutageError)
        or (isinstance(one, OSError) and one.errno in ENVIRONMENT_ERRNOS)
        for one in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through an exception and what it came from.

    Args:
        error: any exception.

    Yields:
        It, its causes and contexts, and what groups among them hold, each once.

    Raises:
        Nothing.
    """
    seen: set[int] = set()
    to_see: list[BaseException | None] = [error]
    while to_see:
        one = to_see.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        to_see.append(one.__cause__ or one.__context__)
        if isinstance(one, BaseExceptionGroup):
            to_see.extend(one.exceptions)


def naming(error: OSError, path: object) -> OSError:
    """Name the file in an error that does not: those of open files only say what happened.

    Args:
        error: what happened.
        path: to what.

    Returns:
        The same error.

    Raises:
        Nothing.
    """
    if error.filename is None:
        error.filename = str(path)
    return error


def missing_extra(package: str, extra: str, needed_for: str) -> SetupError:
    """Build the error for an optional dependency that is not installed.

    Args:
        package: the import name that failed.
        extra: the hpcpipe extra that brings it.
        needed_for: what the user wanted, completing "needed for ...".

    Returns:
        The error, to be raised by the caller.

    Raises:
        Nothing.
    """
    return SetupError(
        f"{package} is not installed, and is needed for {needed_for}. "
        f"Install it with: pip install 'hpcpipe[{extra}]'"
    )
