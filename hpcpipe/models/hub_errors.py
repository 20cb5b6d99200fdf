"""What went wrong with the Hub, in words that say what to do. Never shows a token."""

import contextlib
import errno
import os
from collections.abc import Iterator

from hpcpipe.errors import HpcPipeError, OutageError, SetupError
from hpcpipe.formats.remote import display
from hpcpipe.models.hub import cache_folder
from hpcpipe.stage import Model

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_LIMITED = 429


@contextlib.contextmanager
def in_our_words(model: Model) -> Iterator[None]:
    """Raise errors of huggingface_hub about a model as ours.

    Args:
        model: the model.

    Raises:
        SetupError: the user has to do something.
        OutageError: the Hub does not answer as it should now.
    """
    from huggingface_hub import errors

    # Its HTTP library (httpx, httpx2) is its own choice; of errors it shares only their base.
    bases = tuple(cls for cls in errors.HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError")
    try:
        yield
    except (OSError, RuntimeError, errors.EntryNotFoundError, *bases) as error:
        raise _in_our_words(error, model) from error


def _in_our_words(error: Exception, model: Model) -> HpcPipeError:
    from huggingface_hub import constants, errors

    endpoint = display(constants.ENDPOINT)
    name, page = model.name, f"{endpoint}/{model.name}"
    if isinstance(error, errors.GatedRepoError):
        return SetupError(
            f"model {name} is given to those who accepted its licence: open {page}, accept it "
            f"there, then {_log_in()}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return SetupError(f"model {name} has no revision {model.revision!r}: see {page}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return _unknown(name, endpoint)
    is_local = isinstance(error, errors.LocalEntryNotFoundError)
    if isinstance(error, errors.EntryNotFoundError) and not is_local:
        return SetupError(
            f"model {name} is no {'pipeline' if model.library == 'diffusers' else 'model'} that "
            f"{model.library} could load: it has no {_first_file(model)}"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error.response.status_code, name, endpoint)
    number = error.errno if isinstance(error, OSError) else None
    # Its downloader in Rust tells of errors in words only.
    if number in _CANNOT_WRITE or os.strerror(errno.ENOSPC) in str(error):
        return SetupError(
            f"model {name} cannot be written to {cache_folder()}: {error}. Free space, or set "
            "HF_HOME to a folder with room on a shared filesystem, for this command and the launch"
        )
    return OutageError(
        f"model {name}: {endpoint} cannot be reached: {_reason(error)}. Nodes of a "
        "cluster often have no internet: run this where there is some, such as the login node; "
        "what was downloaded stays"
    )


def _log_in() -> str:
    from huggingface_hub import get_token

    if get_token() is None:
        return "log in with hf auth login, or set HF_TOKEN (no token was found), and try again"
    return "try again; the token that was found (HF_TOKEN, or hf auth login) has no access to it"


def _first_file(model: Model) -> str:
    return "model_index.json" if model.library == "diffusers" else "config.json"


def _unknown(name: str, endpoint: str) -> SetupError:
    return SetupError(
        f"there is no model {name} at {endpoint}, or it is private. Look for typing errors; for a "
        f"private one, {_log_in()}"
    )


def _refused(status: int, name: str, endpoint: str) -> HpcPipeError:
    from huggingface_hub import get_token

    if status == _UNAUTHORIZED and get_token() is None:
        return _unknown(name, endpoint)
    if status == _UNAUTHORIZED:
        return SetupError(
            f"model {name}: {endpoint} does not know the token that was found (HF_TOKEN, or hf "
            "auth login): make a new one"
        )
    if status == _FORBIDDEN:
        return SetupError(
            f"model {name}: {endpoint} does not give it to the token that was found (HF_TOKEN, or "
            "hf auth login): make one that may read it"
        )
    if status == _LIMITED:
        return OutageError(
            f"model {name}: {endpoint} has had too many requests (HTTP 429): try again in some "
            "minutes, with a token (HF_TOKEN) if you have none"
        )
    return OutageError(f"model {name}: {endpoint} answered HTTP {status}: try again later")


def _reason(error: BaseException) -> str:
    """The error below those that only say that something failed, without its address."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{error or type(error).__name__}".splitlines()[0]
