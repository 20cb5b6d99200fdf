"""Progress inside a shard that outlives the attempt: folders in the run directory.

``RUN_DIR/partial/xx/INDEX.ATTEMPT`` belongs to one attempt on the shard of that index in the plan;
later attempts may read it. Nothing is made or looked for before a stage asks.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.manifest.claims import claim_path
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.state import RunState

logger = logging.getLogger(__name__)

FOLDER = "partial"


class Partials:
    """The folders of one shard, as one attempt on it sees them."""

    def __init__(self, root: Path, name: str, attempt: int, forgotten: int = 0) -> None:
        """Look at nothing yet.

        Args:
            root: ``RUN_DIR/partial``, which need not exist.
            name: what the shard is called there, see `partial_name`.
            attempt: number of the attempt.
            forgotten: attempts up to this one were reset: what they saved is not to be used.

        Raises:
            Nothing.
        """
        self._root = root
        self._name = name
        self._attempt = attempt
        self._forgotten = forgotten
        self._own: Path | None = None

    def own(self) -> Path:
        """The attempt's own folder, made when first asked for. Raises OSError."""
        if self._own is None:
            path = claim_path(self._root, self._name, self._attempt)
            # Not what is above it: where the run directory was moved away, it is not made anew.
            for folder in (self._root, path.parent, path):
                folder.mkdir(exist_ok=True)
            self._own = path
        return self._own

    def previous(self) -> Path | None:
        """Find what an earlier attempt has saved.

        Returns:
            The folder of the newest one that saved anything; None where there is none.

        Raises:
            OSError: the folders cannot be read.
        """
        if self._attempt == 1:
            return None
        found = dict(_listed(claim_path(self._root, self._name, 0).parent, self._name))
        for attempt in sorted(found, reverse=True):
            if self._forgotten < attempt < self._attempt and _has_saved(found[attempt]):
                return found[attempt]
        return None

    def has_saved(self) -> bool:
        """Tell whether this attempt has saved anything. Raises OSError."""
        return self._own is not None and _has_saved(self._own)

    def remove(self) -> None:
        """Remove the folders of this attempt and all before it, once the shard is done.

        Returns:
            Nothing.

        Raises:
            Nothing: what cannot be removed is logged, and ``clean`` finds it.
        """
        if self._own is None and self._attempt == 1:
            return
        parent = claim_path(self._root, self._name, 0).parent
        try:
            for attempt, path in list(_listed(parent, self._name)):
                if attempt <= self._attempt:
                    shutil.rmtree(path)
        except OSError as error:
            logger.warning("could not remove saved progress: %s", error)


def partial_name(plan: Plan, shard_id: str) -> str:
    """What a shard's folders are called: its index, since ids may hold slashes or be long.

    Args:
        plan: the run's plan.
        shard_id: id of the shard, or `FINALIZE`.

    Returns:
        The name.

    Raises:
        KeyError: the plan has no such shard.
    """
    if shard_id == FINALIZE:
        return FINALIZE
    index = plan.index(shard_id)
    if index is None:
        raise KeyError(shard_id)
    return str(index)


def orphans(root: Path, state: RunState) -> Iterator[Path]:
    """Find saved progress that no attempt will read any more; nobody works on the run.

    Args:
        root: ``RUN_DIR/partial``, which need not exist.
        state: the run's state.

    Yields:
        Folders of shards that are done, that were reset, or that a later attempt went on from.

    Raises:
        OSError: a folder cannot be read.
    """
    for fan in sorted(root.iterdir()) if root.is_dir() else ():
        names = {path.name.rpartition(".")[0] for path in fan.iterdir()}
        for name in sorted(names):
            yield from _orphans_of(fan, name, state)


def _orphans_of(fan: Path, name: str, state: RunState) -> Iterator[Path]:
    found = dict(_listed(fan, name))
    shard_id = FINALIZE
    if name.isdecimal() and int(name) < len(state.plan):
        shard_id = state.plan.ids[int(name)]
    useful = [
        attempt
        for attempt, path in found.items()
        if attempt > state.reset_through(shard_id) and _has_saved(path)
    ]
    kept = None if state.is_done(shard_id) else max(useful, default=None)
    yield from (path for attempt, path in sorted(found.items()) if attempt != kept)


def _listed(fan: Path, name: str) -> Iterator[tuple[int, Path]]:
    """Attempts on a shard that have a folder."""
    try:
        names = os.listdir(fan)
    except FileNotFoundError:
        return
    for entry in names:
        stem, _, attempt = entry.rpartition(".")
        if stem == name and attempt.isdecimal():
            yield int(attempt), fan / entry


def _has_saved(path: Path) -> bool:
    try:
        return any(not name.startswith(".") for name in os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
