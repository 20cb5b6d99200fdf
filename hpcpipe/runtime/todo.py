"""What is left for one worker to claim, in the order it goes over it."""

from hpcpipe.config import RunOptions
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.manifest.state import RunState


class Todo:
    """The blocks a worker may try to claim, as the state it is kept up to date with says."""

    def __init__(
        self, run: RunDir, state: RunState, launch: Launch, index: int, options: RunOptions
    ) -> None:
        """Take no look yet.

        Args:
            run: the run directory.
            state: the run's state, kept up to date by the worker.
            launch: the worker's launch.
            index: the worker's index among all workers of the run.
            options: how shards are run.

        Raises:
            Nothing.
        """
        self._has_finalize = run.info.has_finalize
        self._state = state
        self._limit = launch.limit
        self._index = index
        self._num_workers = max(launch.first_index + launch.num_workers, 1)
        self._max_failed_fraction = options.max_failed_fraction

    def blocks(self) -> list[str]:
        """Pending blocks in the order in which this worker goes over them.

        Returns:
            Names of the blocks: larger ones first, beginning at this worker's own stripe; where
            none is known to be larger, in the plan's order, beginning at this worker's own part.

        Raises:
            Nothing.
        """
        sizes = self._state.plan.block_sizes(self._state.pending(self._limit))
        if len(set(sizes.values())) <= 1:
            return part([str(block) for block in sizes], self._index, self._num_workers)
        largest_first = sorted(sizes, key=lambda block: (-sizes[block], block))
        return stripe([str(block) for block in largest_first], self._index, self._num_workers)

    def finalize(self) -> list[str]:
        """The last step, where it is what comes next; an empty list otherwise. Raises nothing."""
        return [FINALIZE] if self.wants_finalize() else []

    def wants_finalize(self) -> bool:
        """Tell whether all shards are ended and the last step is still to be done.

        Returns:
            Also False where too many shards are quarantined.

        Raises:
            Nothing.
        """
        if not self._has_finalize or self._state.status(FINALIZE) != "pending":
            return False
        counts = self._state.counts()
        allowed = self._max_failed_fraction * len(self._state.plan)
        return counts["pending"] == 0 and counts["quarantined"] <= allowed


def stripe(blocks: list[str], index: int, num_workers: int) -> list[str]:
    """Order blocks for one worker: its own stripe first, then the others'.

    Args:
        blocks: all blocks, in the order they are wanted.
        index: the worker's index among all workers.
        num_workers: number of workers.

    Returns:
        The same blocks; workers of different index begin at different ones.

    Raises:
        Nothing.
    """
    return [
        b
        for first in range(num_workers)
        for b in blocks[(index + first) % num_workers :: num_workers]
    ]


def part(blocks: list[str], index: int, num_workers: int) -> list[str]:
    """Order blocks for one worker: its own part first, then what follows it, round to its begin.

    Neighbours stay together, so that a worker that reads shards from one file can read on.

    Args:
        blocks: all blocks, in the order they are wanted.
        index: the worker's index among all workers.
        num_workers: number of workers.

    Returns:
        The same blocks; workers of different index begin at different ones, as far as there are.

    Raises:
        Nothing.
    """
    first = len(blocks) * (index % num_workers) // num_workers
    return blocks[first:] + blocks[:first]
