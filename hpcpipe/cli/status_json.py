"""What ``status --json`` prints: every field of a `Summary` and of SLURM's queue, always.

The fields are described in ``docs/status-json.md``; programs of others read them, so that none
is renamed, removed or left out where it has nothing to say.
"""

from typing import Any

import msgspec

from hpcpipe.cli.watch import Queue
from hpcpipe.runtime.code import notes
from hpcpipe.runtime.summary import Summary


def tree(summary: Summary, queue: Queue) -> dict[str, Any]:
    """Make what is printed.

    Args:
        summary: the run.
        queue: what SLURM says.

    Returns:
        A tree of JSON types.

    Raises:
        Nothing.
    """
    return {
        **plain(summary),
        "code_changes": notes(summary.launches, [view.identity for view in summary.workers]),
        "queue": plain(queue.states),
        "pending_reasons": plain(queue.reasons),
        "not_started": plain(queue.not_started),
    }


def plain(value: Any) -> Any:
    """Turn records into JSON types with all of their fields.

    Args:
        value: a record, or a list, dict or plain value with records in it.

    Returns:
        The same of dicts, lists and plain values.

    Raises:
        Nothing.
    """
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
