"""The stage ``generate_images``: an image for every prompt, as edits that ``reshard`` puts in.

This file holds the options and their checks; the work is in the ``_generate_*`` files.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from hpcpipe.errors import ConfigError
from hpcpipe.formats.edits_write import EDITS_WRITERS, EditsFormat
from hpcpipe.formats.image_options import EncodeFormat, check_quality
from hpcpipe.models.device import Dtype, check_dtype
from hpcpipe.models.prompts import Drawing
from hpcpipe.stage import (
    Location,
    Look,
    LookContext,
    Model,
    ModelName,
    PlanContext,
    Shard,
    ShardContext,
    Stage,
    TuningInt,
    WorkerContext,
)
from hpcpipe.stages import _generate_look, _generate_plan, _generate_shard

_SIZE_STEP_PX = 8


@dataclass(frozen=True, kw_only=True)
class GenerateImages(Stage):
    """An image for every prompt.

    Attributes:
        input: files of prompts, ``SHARD.json``.
        output: folder for the edits.
        selected: folder with ``SHARD.jsonl``, or folders ``SHARD`` of the samples' json; None
            where there are prompts alone.
        edits_format: one tar a shard, or loose files.
        model: name or folder of a pipeline of diffusers.
        revision: branch, tag or commit of it on the Hub.
        dtype: number type of its weights.
        steps: denoising steps.
        guidance: guidance scale; 0 for distilled models.
        width_px: of the images.
        height_px: of the images.
        max_sequence_length: tokens of a prompt that are read, where a pipeline can be told.
        negative_prompt: what not to draw.
        seed: of the whole run; each sample's own follows from it and its key.
        compile: compile the model first.
        image_format: what images are written as.
        image_quality: 0 to 100 for jpg, 1 to 100 for webp, the compression 0 to 9 for png.
        drop_fields: fields of the original's json that are not true of a new image.
        batch_size: images that are drawn at once, at most.
        save_every_s: how often what is finished of a shard is saved.
        threads: for writing images, and for models on the CPU.
    """

    deterministic: ClassVar[bool] = False

    selected: Location | None
    edits_format: EditsFormat
    model: ModelName
    revision: str | None
    dtype: Dtype
    steps: int
    guidance: float
    width_px: int
    height_px: int
    max_sequence_length: int | None
    negative_prompt: str | None
    seed: int
    compile: bool
    image_format: EncodeFormat
    image_quality: int
    drop_fields: list[str]
    batch_size: TuningInt
    save_every_s: TuningInt
    threads: TuningInt

    def __post_init__(self) -> None:
        """Check the options. Raises ConfigError."""
        check_dtype(self.dtype)
        check_quality("stage.image_quality", self.image_quality, self.image_format)
        if self.edits_format not in EDITS_WRITERS:
            raise ConfigError(f"stage.edits_format={self.edits_format}: must be tar or files")
        for name in ("width_px", "height_px"):
            size = getattr(self, name)
            if size < _SIZE_STEP_PX or size % _SIZE_STEP_PX:
                raise ConfigError(f"stage.{name}={size}: must be a multiple of {_SIZE_STEP_PX}")
        for name in ("steps", "batch_size", "save_every_s", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"stage.{name}={getattr(self, name)}: must be 1 or more")
        most = self.max_sequence_length
        if most is not None and most < 1:
            raise ConfigError(f"stage.max_sequence_length={most}: must be 1 or more")
        if not math.isfinite(self.guidance):
            raise ConfigError(f"stage.guidance={self.guidance}: must be a number")

    @property
    def drawing(self) -> Drawing:
        """How images are drawn, as the model is told."""
        return Drawing(
            steps=self.steps,
            guidance=self.guidance,
            width_px=self.width_px,
            height_px=self.height_px,
            max_sequence_length=self.max_sequence_length,
            negative_prompt=self.negative_prompt,
        )

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions of a new sample's files."""
        return (self.image_format, "txt", "json")

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """List one shard for each file of prompts.

        Args:
            ctx: the framework's help.

        Returns:
            The shards.

        Raises:
            PlanError: there are no prompts, or no selected samples that belong to them.
        """
        return _generate_plan.plan(self, ctx)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Name the tar and the list of samples. Raises nothing."""
        meta = f"{shard.id}{_generate_plan.META_SUFFIX}"
        return (f"{shard.id}.tar", meta) if self.edits_format == "tar" else (meta,)

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterable[Look]:
        """Show new images beside the originals, for contact sheets.

        Args:
            shard: the shard.
            ctx: the framework's help.
            num_samples: how many, at most.

        Returns:
            The samples.

        Raises:
            HpcPipeError: the shard's edits cannot be read.
            OSError: the same.
        """
        return _generate_look.look(self, shard, ctx, num_samples)

    def models(self) -> Iterable[Model]:
        """Name the pipeline. Raises nothing."""
        return (Model(self.model, self.revision, "diffusers"),)

    def setup(self, ctx: WorkerContext) -> Any:
        """Load the model and draw one image with it.

        Args:
            ctx: the framework's help.

        Returns:
            State for `process`.

        Raises:
            SetupError: a library, the model or the GPU is missing or unfit.
        """
        return _generate_shard.setup(self, ctx)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Draw the images of one shard.

        Args:
            shard: which.
            ctx: the framework's help.
            state: what `setup` gave.

        Raises:
            BadInputError: the prompts or the selected samples are damaged.
            OutageError: a remote store is down.
            SetupError: the GPU failed, or memory does not hold a single image.
            ShardStopped: the worker was told to stop.
            OSError: reading or writing failed.
        """
        _generate_shard.process(self, shard, ctx, state)
