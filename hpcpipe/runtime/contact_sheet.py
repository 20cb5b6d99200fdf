"""Contact sheets of runs: a few samples of random finished shards, as their stage shows them.

What it costs depends on the number of samples shown, hardly on that of shards. The page itself is
for ``formats/contact_sheet``.
"""

import logging
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from hpcpipe.errors import HpcPipeError
from hpcpipe.formats.contact_sheet import Section, write_page
from hpcpipe.manifest.files import replace
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.manifest.state import RunState
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.outputs import OutputFolder, check_name
from hpcpipe.runtime.summary import Observer, Summary
from hpcpipe.runtime.unmade_text import made_lines
from hpcpipe.stage import Look, Shard, Stage

logger = logging.getLogger(__name__)

FILE = "contact_sheet.html"
NUM_SAMPLES = 48
MAX_SHARDS = 16
"""Samples come from so many shards: a list of selected samples is read whole for each."""

_MAX_SHARDS_TRIED = 64
_MAX_NOTES = 5
_NOTE_CHARS = 200


class LookContext:
    """What `Stage.look` is handed.

    Attributes:
        random: chooses the samples.
        scratch: an empty folder.
    """

    def __init__(self, folder: OutputFolder, random: Random, scratch: Path) -> None:
        """Hold what is given. Raises nothing."""
        self.random = random
        self.scratch = scratch
        self._folder = folder

    def output_path(self, name: str) -> str:
        """Absolute path or URL of an output. Raises ConfigError for one outside the folder."""
        check_name(name)
        return self._folder.open_path(name)


def can_show(stage: Stage) -> bool:
    """Tell whether a stage has contact sheets. Raises nothing."""
    return type(stage).look is not Stage.look


def section_of(run: RunDir, stage: Stage, num_samples: int, seed: int, title: str = "") -> Section:
    """Choose samples of a run's finished shards and have them shown.

    Args:
        run: the run; it may be going on.
        stage: its stage.
        num_samples: how many, at most.
        seed: of the choice.
        title: its heading; the stage's name where it is empty.

    Returns:
        Its part of a contact sheet.

    Raises:
        HpcPipeError: the run is damaged.
        OSError: it cannot be read.
    """
    options = read_options(run)
    observer = Observer(run, options)
    summary = observer.summarize()
    folder = OutputFolder(run.info.output, options.checksum)
    looks: list[tuple[str, Look]] = []
    notes = [line.strip() for line in made_lines(summary.num_samples, summary.unmade, 10_000)]
    wrong: list[str] = []
    num_shards = min(MAX_SHARDS, summary.done, num_samples)
    chosen = _done_shards(observer.state, Random(seed))
    for number, shard in enumerate(islice(chosen, _MAX_SHARDS_TRIED)):
        left = num_samples - len(looks)
        if left <= 0:
            break
        num_wanted = -(-left // max(num_shards - number, 1))
        try:
            looks += [(shard.id, look) for look in _looks(stage, shard, folder, num_wanted, seed)]
        except Exception as error:  # files of others, shown by anybody's code: the rest is shown
            named = isinstance(error, HpcPipeError | OSError)
            reason = str(error) if named else f"{type(error).__name__}: {error}"
            wrong.append(f"shard {shard.id}: {reason}"[:_NOTE_CHARS])
            logger.warning("shard %s cannot be shown: %s", shard.id, reason, exc_info=not named)
    looks.sort(key=lambda item: item[0])
    return Section(title or run.info.stage, _facts(summary), looks, [*notes, *wrong[:_MAX_NOTES]])


def _looks(
    stage: Stage, shard: Shard, folder: OutputFolder, num_samples: int, seed: int
) -> list[Look]:
    with tempfile.TemporaryDirectory(prefix="hpcpipe-look-") as scratch:
        ctx = LookContext(folder, Random(f"{seed} {shard.id}"), Path(scratch))
        return list(islice(stage.look(shard, ctx, num_samples), num_samples))


def _done_shards(state: RunState, random: Random) -> Iterator[Shard]:
    plan = state.plan
    for index in random.sample(range(len(plan)), len(plan)):
        shard = plan.shard(index)
        if state.is_done(shard.id):
            yield shard


def _facts(summary: Summary) -> list[tuple[str, str]]:
    return [
        ("run", summary.run_dir),
        ("output", summary.output),
        ("state", summary.state),
        ("shards", f"{summary.done:,} of {summary.num_shards:,} done"),
        ("samples", f"{summary.num_samples:,}"),
    ]


def write_at_end(run: RunDir, stage: Stage) -> None:
    """Write the sheet of a run that is over into its directory.

    Args:
        run: the run.
        stage: its stage; nothing is written for one that shows nothing.

    Returns:
        Nothing; what goes wrong is logged, for the run is done without it.

    Raises:
        Nothing.
    """
    if not can_show(stage):
        return
    try:
        section = section_of(run, stage, NUM_SAMPLES, seed=0)
        if section.looks:
            replace(run.path / FILE, write_page(f"{run.info.stage}: {run.path.name}", [section]))
    except Exception as error:
        logger.warning("the contact sheet was not written: %r", error)
