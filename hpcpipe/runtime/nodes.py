"""Nodes on which everything fails while others finish their shards, and shards they spoilt.

A failure tells against a node only where its shard has failed on no other node, and a node is bad
only where more shards failed on it than were finished there, while good nodes finish more than
they fail and are at least as many. So data at fault, or a stage that fails everywhere, makes no
node bad.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from hpcpipe.config import Launcher, ScriptLauncher, SlurmLauncher
from hpcpipe.console import plural
from hpcpipe.manifest.identity import Identity
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.workers import WorkerView

SETUP_FAILED = "SetupError"


class BadNode(msgspec.Struct, frozen=True):
    """A node that spoils shards.

    Attributes:
        name: the node.
        num_failed: shards that failed or lost their worker there and on no other node, and
            workers that could not be set up.
        num_done: shards that were finished there.
    """

    name: str
    num_failed: int
    num_done: int

    def __str__(self) -> str:
        """What was seen, in words."""
        return f"{self.name}: {plural(self.num_failed, 'failure')}, {self.num_done:,} done"


def find_bad_nodes(
    state: RunState, workers: Iterable[WorkerView], limit: int | None
) -> list[BadNode]:
    """Judge the nodes of a run.

    Args:
        state: the run's state.
        workers: its workers, old ones included.
        limit: failures of different shards that make a node bad; None where none ever is.

    Returns:
        The bad nodes, by name; the same for any order of what happened.

    Raises:
        Nothing.
    """
    if limit is None:
        return []
    failed, done = num_failed_by_node(state), Counter[str]()
    for view in workers:
        node = node_of(view.identity)
        done[node] += view.beat.used.num_done
        failed[node] += view.state == "ended" and view.beat.note.startswith(SETUP_FAILED)
    num_good = sum(number > failed[node] for node, number in done.items())
    bad = [n for n, number in failed.items() if number >= limit and number > done[n]]
    return [BadNode(n, failed[n], done[n]) for n in sorted(bad)] if len(bad) <= num_good else []


def num_failed_by_node(state: RunState) -> Counter[str]:
    """Count the different shards that failed on a node, and on no other.

    Args:
        state: the run's state.

    Returns:
        Number of shards by node; of blocks of shards, where a claim covers several.

    Raises:
        Nothing.
    """
    failed: Counter[str] = Counter()
    for nodes in _nodes_by_block(state).values():
        if len(nodes) == 1:
            failed.update(nodes)
    return failed


def _nodes_by_block(state: RunState) -> Mapping[str, set[str]]:
    """Nodes on which shards of a block failed, were given back as the machine's fault, or lost."""
    nodes: dict[str, set[str]] = {}
    for shard_id, attempts in state.failures.items():
        found = {event.host for event in attempts.values() if not event.final}
        nodes.setdefault(state.block_name(shard_id), set()).update(found)
    for ends in (state.lost, state.given_back):
        for block, hosts in ends.items():
            nodes.setdefault(block, set()).update(hosts.values())
    return nodes


def spoilt_shards(state: RunState, bad: Iterable[str]) -> list[str]:
    """List quarantined shards that might be done elsewhere.

    Args:
        state: the run's state.
        bad: names of the bad nodes.

    Returns:
        Ids of those that failed and were lost on bad nodes only.

    Raises:
        Nothing.
    """
    names, found = set(bad), []
    for shard_id in sorted(state.quarantined()) if names else ():
        failed = state.failed_attempts(shard_id)
        hosts = {event.host for event in failed}.union(state.lost_hosts(shard_id))
        if hosts <= names and not any(event.final for event in failed):
            found.append(shard_id)
    return found


def bad_node_limit(launcher: Launcher) -> int | None:
    """Failures that make a node bad for workers of a launcher; None for never. Raises nothing."""
    if isinstance(launcher, SlurmLauncher | ScriptLauncher):
        return launcher.exclude_bad_nodes
    return None


def node_of(identity: Identity) -> str:
    """Name of a worker's node, as the journals have it. Raises nothing."""
    return identity.node or identity.host
