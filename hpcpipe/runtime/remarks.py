"""What a stage said of its plan to people, kept in the run directory."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.files import JSON_ERRORS, replace

FILE = "plan_remarks.json"


def write_remarks(folder: Path, remarks: Sequence[str]) -> None:
    """Write down what was said of the newest plan.

    Args:
        folder: the run directory.
        remarks: a line each; none removes nothing where nothing was said before.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / FILE
    if remarks or path.exists():
        replace(path, msgspec.json.encode(list(remarks)))


def read_remarks(folder: Path) -> list[str]:
    """Read what was said of the newest plan.

    Args:
        folder: the run directory.

    Returns:
        A line each.

    Raises:
        RunMismatchError: the file is damaged.
        OSError: it cannot be read.
    """
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=list[str])
    except FileNotFoundError:
        return []
    except JSON_ERRORS as error:
        raise RunMismatchError(f"{folder / FILE} is damaged: {error}") from None
