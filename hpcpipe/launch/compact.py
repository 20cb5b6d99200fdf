"""Opening a run so that whoever opens it next, its workers above all, has little to read."""

from hpcpipe.config import Config
from hpcpipe.console import warn
from hpcpipe.manifest.compaction import write_snapshot
from hpcpipe.manifest.journal import Brief, JournalReader
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.snapshot import STATE_COLUMNS, read_snapshot, reader_after
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.results import open_state, state_after

COMPACT_BYTES = 8 << 20
"""More than this beyond the snapshot, some 25,000 shards, is worth a new one."""


def open_compacted(run: RunDir, config: Config) -> tuple[RunState, JournalReader[Brief]]:
    """Read plan and journals of a run, and write a snapshot where much was to be read.

    Args:
        run: the run directory.
        config: its config.

    Returns:
        The state, and the reader to go on with.

    Raises:
        PlanError: the plan is damaged.
        OSError: a file cannot be read.
    """
    options, plan = config.run, Plan(run.path, run.info.block_size)
    snapshot = read_snapshot(run, plan, STATE_COLUMNS)
    if reader_after(run, snapshot, Brief).num_unread_bytes() <= COMPACT_BYTES:
        return state_after(run, plan, snapshot, options)
    try:
        return write_snapshot(run, plan, options.max_attempts, options.max_lost)
    except OSError as error:
        warn(f"warning: the snapshot could not be written, workers start slower: {error}")
        return open_state(run, config)
