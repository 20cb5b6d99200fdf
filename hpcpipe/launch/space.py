"""Before a launch: is there room for what a run is going to write?"""

import os
from pathlib import Path
from typing import NamedTuple

from hpcpipe.console import size, warn
from hpcpipe.errors import ConfigError
from hpcpipe.formats.remote import is_remote
from hpcpipe.launch.pending import Pending
from hpcpipe.launch.quota import Room, rooms

INODES_PER_WORKER = 8
BYTES_PER_SHARD = 512
"""A journal line and a claim's name in its folder; claims are links and take no inode."""
BYTES_PER_WORKER = 64 << 10
_TIGHT = 1.1


class Need(NamedTuple):
    """What is going to be written to one filesystem.

    Attributes:
        what: which folders, as the user named them.
        num_bytes: about how much, as far as that is known.
        num_inodes: new files and folders, at least.
        likely_inodes: the same where every shard gives one file.
    """

    what: str
    num_bytes: int
    num_inodes: int
    likely_inodes: int


def check_space(pending: Pending, num_workers: int) -> None:
    """Refuse to start what cannot fit, and warn where it will be tight.

    Args:
        pending: the run.
        num_workers: workers that will be started at most.

    Returns:
        Nothing.

    Raises:
        ConfigError: it does not fit; not raised with ``run.check_space=false``.
        OSError: a filesystem does not answer.
    """
    for folder, need in _needs(pending, num_workers).items():
        for room in rooms(folder):
            lacks, is_tight = _compare(need, room)
            if lacks and pending.config.run.check_space:
                raise ConfigError(
                    f"{need.what}: {lacks}. Free some, name another place, or go on anyway with "
                    "run.check_space=false"
                )
            if lacks or is_tight:
                warn(f"warning: {need.what}: {lacks or is_tight}")


def _needs(pending: Pending, num_workers: int) -> dict[Path, Need]:
    """What is needed, by one folder of each filesystem."""
    run, num_pending = pending.run, pending.num_pending
    own = Need(
        f"run directory {run.path}",
        num_pending * BYTES_PER_SHARD + num_workers * BYTES_PER_WORKER,
        num_workers * INODES_PER_WORKER,
        num_workers * INODES_PER_WORKER,
    )
    if is_remote(run.info.output):
        return {run.path: own}
    num_bytes = pending.config.stage.estimated_output_bytes(_num_bytes_to_read(pending))
    output = Need(f"stage.output {run.info.output}", num_bytes or 0, 0, num_pending)
    folder = Path(run.info.output)
    if os.stat(folder).st_dev != os.stat(run.path).st_dev:
        return {run.path: own, folder: output}
    return {folder: _sum(own, output)}


def _sum(own: Need, output: Need) -> Need:
    likely_inodes = own.likely_inodes + output.likely_inodes
    return Need(output.what, own.num_bytes + output.num_bytes, own.num_inodes, likely_inodes)


def _num_bytes_to_read(pending: Pending) -> int:
    sizes = pending.state.plan.sizes
    return sum(sizes[index] for index in pending.state.pending(pending.config.limit))


def _compare(need: Need, room: Room) -> tuple[str, str]:
    """What is lacking, and what will be tight; empty texts where there is enough."""
    lacks = tight = ""
    if room.num_bytes is not None:
        left = f"{size(room.num_bytes)} are left {room.limit}"
        told = f"about {size(need.num_bytes)} are to be written, {left}"
        lacks = told if need.num_bytes > room.num_bytes else ""
        tight = told if need.num_bytes * _TIGHT > room.num_bytes else ""
        if room.nearly_full:
            tight = tight or left
    if room.num_inodes is not None:
        told = f"{{:,}} files are to be made, {room.num_inodes:,} can be {room.limit}"
        if need.num_inodes > room.num_inodes:
            lacks = lacks or told.format(need.num_inodes)
        if need.likely_inodes > room.num_inodes:
            tight = tight or told.format(need.likely_inodes)
    return lacks, tight
