"""What a worker keeps from shard to shard to look at images, and how it looks at many.

Three things go on at the same time: the tar is read by the caller's thread, images are decoded by
`threads` of them, and two batches are with the detector, so that it never waits for the last image
of one; another waits behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from hpcpipe.formats.image_errors import ImageError
from hpcpipe.formats.selected import Face
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.faces import open_detector
from hpcpipe.models.faces_image import ImageLoader
from hpcpipe.models.ordered import ordered_map
from hpcpipe.stage import WorkerContext
from hpcpipe.stages._filter_faces_sample import FAILED, Candidate, LeftOut

if TYPE_CHECKING:
    from hpcpipe.stages.filter_faces import FilterFaces

_NUM_BATCHES = 2
_NO_ROOM = "use a smaller stage.long_side_px, or a worker with more"

Found = tuple[Candidate | LeftOut, tuple[Face, ...]]
_Loaded = tuple[Candidate | LeftOut, Any]


class Tools:
    """The detector and its threads.

    Attributes:
        batches: images a GPU takes at once.
    """

    def __init__(self, stage: FilterFaces, ctx: WorkerContext) -> None:
        """Load the detector.

        Args:
            stage: the options; its detector is not ``metadata``.
            ctx: the framework's help.

        Raises:
            SetupError: a package is missing, or the device cannot be used.
        """
        if stage.detector == "metadata":
            raise AssertionError("metadata needs no tools")
        self._load = ImageLoader(stage.long_side_px)
        self.batches = BatchSize(stage.batch_size, _NO_ROOM)
        self._detector = open_detector(
            stage.detector, ctx.device, stage.min_score, self.batches, stage.threads
        )
        self._loaders = ctx.exit_stack.enter_context(ThreadPoolExecutor(stage.threads, "images"))
        self._runner = ctx.exit_stack.enter_context(ThreadPoolExecutor(_NUM_BATCHES, "detector"))

    def find(self, samples: Iterable[tuple[Candidate | LeftOut, bytes]]) -> Iterator[list[Found]]:
        """Look at the images of samples.

        Args:
            samples: each with its image's file; those that were left out pass through.

        Yields:
            The samples in order, batch by batch, with their faces; one whose image cannot be read
            is left out.

        Raises:
            SetupError: memory does not hold a single image.
            MemoryError: there is no room for an image.
        """
        size = self._detector.num_at_once
        loaded = ordered_map(self._loaded, samples, self._loaders, ahead=size)
        return ordered_map(self._detect, _batches(loaded, size), self._runner, _NUM_BATCHES)

    def _loaded(self, item: tuple[Candidate | LeftOut, bytes]) -> _Loaded:
        sample, content = item
        if isinstance(sample, LeftOut):
            return sample, None
        try:
            return sample, self._load(content)
        except ImageError as error:
            return LeftOut(sample.key, FAILED, error.failure.value, error.text), None

    def _detect(self, batch: list[_Loaded]) -> list[Found]:
        images = [pixels for _, pixels in batch if pixels is not None]
        faces = iter(self._detector.detect(images))
        return [(sample, () if pixels is None else tuple(next(faces))) for sample, pixels in batch]


def _batches(items: Iterator[_Loaded], size: int) -> Iterator[list[_Loaded]]:
    while batch := list(islice(items, size)):
        yield batch
