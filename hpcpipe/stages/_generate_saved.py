"""What is finished of a shard, saved in parts, so that a killed worker's successor goes on there.

A part is one file of whole batches, so that what is drawn after it is drawn in the same batches.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hpcpipe.errors import BadInputError
from hpcpipe.stage import ShardContext
from hpcpipe.stages._generate_files import Made
from hpcpipe.stages._generate_samples import Sample

logger = logging.getLogger(__name__)

_FOLDER = "parts"
_MAX_UNSAVED_BYTES = 256 << 20
"""What is finished is saved once it takes so much memory, however soon that is."""
_AGAIN = "python -m hpcpipe retry RUN_DIR does the shard again from its beginning"


class Saved:
    """The saved progress of one attempt on a shard."""

    def __init__(self, ctx: ShardContext, every_s: float) -> None:
        """Look at nothing yet.

        Args:
            ctx: the framework's help.
            every_s: seconds from one part to the next.

        Raises:
            Nothing.
        """
        self._ctx = ctx
        self._every_s = every_s
        self._num_parts = 0
        self._saved_at = time.monotonic()
        self._unsaved: list[Made] = []
        self._unsaved_bytes = 0

    def restore(self, samples: Sequence[Sample]) -> Iterator[Made]:
        """Take over what an earlier attempt has saved.

        Args:
            samples: those that are drawn, in order.

        Yields:
            What became of the first of them.

        Raises:
            BadInputError: it is of other samples.
            OSError: it cannot be read, or not be taken over.
        """
        self._take_over()
        decode = msgspec.msgpack.Decoder(list[Made]).decode
        num_restored = 0
        paths = sorted(self._folder.glob("*.msgpack"))
        for number, path in enumerate(paths):
            try:
                part = decode(path.read_bytes())
            except msgspec.DecodeError as error:
                logger.warning("%s is damaged (%s): what it had is drawn again", path, error)
                for useless in paths[number:]:
                    useless.unlink()
                break
            expected = samples[num_restored : num_restored + len(part)]
            if [(one.key, one.seed) for one in part] != [(x.key, x.seed) for x in expected]:
                raise BadInputError(
                    f"{path} was saved of other samples than the shard has: {_AGAIN}"
                )
            num_restored += len(part)
            self._num_parts += 1
            yield from part
        if num_restored:
            logger.info("going on behind %d samples that were saved", num_restored)

    def add(self, made: Made, is_batch_end: bool) -> None:
        """Note that a sample is finished, and save it and those before in time.

        Args:
            made: what became of it.
            is_batch_end: no other sample of its batch comes after it.

        Raises:
            OSError: it cannot be saved.
        """
        self._unsaved.append(made)
        self._unsaved_bytes += sum(map(len, made.files.values()))
        is_time = time.monotonic() - self._saved_at >= self._every_s
        if is_batch_end and (is_time or self._unsaved_bytes > _MAX_UNSAVED_BYTES):
            self.save()

    def save(self) -> None:
        """Save what is finished; only between two batches. Raises OSError."""
        if self._unsaved:
            self._folder.mkdir(exist_ok=True)
            hidden = self._folder / f".{self._num_parts:06d}"
            with open(hidden, "wb") as file:
                file.write(msgspec.msgpack.encode(self._unsaved))
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(self._folder / f"{self._num_parts:06d}.msgpack")
            self._num_parts += 1
            self._unsaved = []
            self._unsaved_bytes = 0
        self._saved_at = time.monotonic()

    @property
    def _folder(self) -> Path:
        return self._ctx.partial / _FOLDER

    def _take_over(self) -> None:
        """Have the earlier attempt's parts in this one's folder, which the next one looks at.

        All of them at once: killed in the middle, this attempt has saved nothing.
        """
        previous = self._ctx.previous_partial
        if previous is None or not (previous / _FOLDER).is_dir():
            return
        hidden = self._ctx.partial / f".{_FOLDER}"
        hidden.mkdir()
        for path in (previous / _FOLDER).glob("*.msgpack"):
            try:
                os.link(path, hidden / path.name)
            except OSError:  # a filesystem without links
                shutil.copyfile(path, hidden / path.name)
        hidden.rename(self._folder)
