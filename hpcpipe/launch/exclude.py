"""Leaving out the nodes that spoil shards: in a launch, and in what is queued already."""

from hpcpipe.config import Config
from hpcpipe.console import plural, say
from hpcpipe.launch import squeue
from hpcpipe.launch.parameters import excluded
from hpcpipe.manifest.journal import Brief, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.changes import reset_shards
from hpcpipe.runtime.nodes import bad_node_limit, find_bad_nodes, spoilt_shards
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.workers import read_workers


def leave_bad_nodes(run: RunDir, config: Config, state: RunState) -> list[str]:
    """Find the bad nodes of a run before workers are submitted, and say which they are.

    Args:
        run: the run.
        config: the config of the launch.
        state: the run's state.

    Returns:
        Names of the nodes; none where this launcher starts workers on no others.

    Raises:
        OSError: the run directory cannot be read.
    """
    limit = bad_node_limit(config.launcher)
    if limit is None:
        return []
    bad = find_bad_nodes(state, read_workers(run, config.run.lease_s), limit)
    for node in bad:
        say(f"left out   node {node} (launcher.exclude_bad_nodes={limit})")
    return [node.name for node in bad]


def retry_elsewhere(
    run: RunDir, config: Config, state: RunState, nodes: list[str]
) -> tuple[RunState, JournalReader[Brief]] | None:
    """Make shards pending again that were quarantined for what happened on bad nodes only.

    Args:
        run: the run.
        config: the config of the launch.
        state: the run's state.
        nodes: the bad nodes.

    Returns:
        The state afterwards, with its reader; None where there was no such shard.

    Raises:
        OSError: the run directory cannot be written.
    """
    shards = spoilt_shards(state, nodes)
    if not shards:
        return None
    reset_shards(run, state, shards)
    say(f"again      {plural(len(shards), 'shard')} that failed there only")
    return open_state(run, config)


def leave_in_queue(config: Config, arrays: list[str], nodes: list[str]) -> None:
    """Have what is queued of a run started elsewhere.

    Args:
        config: the config of the launch.
        arrays: array job ids.
        nodes: the bad nodes; none to do nothing.

    Raises:
        Nothing.
    """
    if arrays and nodes:
        squeue.exclude(arrays, excluded(config, nodes))
