"""One shard of ``generate_images``: prompts encoded ahead, batches drawn, files made behind them.

The model's thread is the caller's. On a GPU it takes encoded batches from one thread, and always
finished files from others; it is held up by neither as long as they are quicker than the model.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hpcpipe.errors import missing_extra
from hpcpipe.formats.edits_write import EDITS_WRITERS
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.device import gpu_failures, open_device
from hpcpipe.models.diffusion_load import NO_ROOM, TRIAL, compile_blocks, load, try_out
from hpcpipe.models.hub import find
from hpcpipe.models.ordered import ordered_map
from hpcpipe.models.pictures import Picture
from hpcpipe.models.prompts import Encoded
from hpcpipe.stage import Shard, ShardContext, ShardStopped, WorkerContext
from hpcpipe.stages._generate_files import LEFT_OUT, MADE, FileMaker, Made
from hpcpipe.stages._generate_plan import META_SUFFIX
from hpcpipe.stages._generate_samples import Sample, read_samples
from hpcpipe.stages._generate_saved import Saved

if TYPE_CHECKING:
    from hpcpipe.stages.generate_images import GenerateImages


class Tools:
    """What a worker keeps from shard to shard: the model, its batch size, threads."""

    def __init__(self, stage: "GenerateImages", ctx: WorkerContext) -> None:
        """Load the model and draw with it.

        Args:
            stage: the options.
            ctx: the framework's help.

        Raises:
            SetupError: a library, the model or the GPU is missing or unfit.
        """
        (model,) = stage.models()
        found = find(model)
        self.device = open_device(ctx.device, stage.dtype, stage.threads)
        # A compiled model is compiled anew for each size of batch.
        self.batches = BatchSize(stage.batch_size, NO_ROOM, fills_up=stage.compile)
        with gpu_failures(self.device):
            self.diffusion = load(found, stage.model, stage.drawing, self.device, stage.dtype)
            if stage.compile:
                compile_blocks(self.diffusion)
            self.batches.run(
                [TRIAL] * self.batches.least, lambda part: try_out(self.diffusion, part)
            )
        self.make_files = FileMaker(stage, found.commit).make
        self.encoder = ctx.exit_stack.enter_context(ThreadPoolExecutor(1, "prompts"))
        self.finishers = ctx.exit_stack.enter_context(ThreadPoolExecutor(stage.threads, "images"))


def setup(stage: "GenerateImages", ctx: WorkerContext) -> Tools:
    """Load the model and draw with it.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        What `process` needs.

    Raises:
        SetupError: a library, the model or the GPU is missing or unfit.
    """
    try:
        import simplejpeg  # noqa: F401
    except ImportError as error:
        raise missing_extra("simplejpeg", "generate", "writing images") from error
    return Tools(stage, ctx)


def process(stage: "GenerateImages", shard: Shard, ctx: ShardContext, tools: Tools) -> None:
    """Draw the images of one shard.

    Args:
        stage: the options.
        shard: which.
        ctx: the framework's help.
        tools: what `setup` gave.

    Raises:
        BadInputError: the prompts or the selected samples are damaged.
        OutageError: a remote store is down.
        SetupError: the GPU failed, or memory does not hold a single image.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    samples = read_samples(stage, shard)
    writer = EDITS_WRITERS[stage.edits_format](ctx.output, shard.id)
    notes = ctx.output(f"{shard.id}{META_SUFFIX}")
    ctx.count("samples", len(samples))
    num_made = 0
    with gpu_failures(tools.device):
        for made in _Shard(stage, ctx, tools).run(samples):
            notes.write(made.note())
            if made.is_cut:
                ctx.count("prompts_cut")
            if made.status == MADE:
                writer.add(made.key, made.files)
                num_made += 1
                ctx.count("images")
            else:
                ctx.count(f"{made.status}.{made.reason}")
            ctx.progress(num_made)
    writer.finish(num_made)


class _Shard:
    """The samples of one shard on their way."""

    def __init__(self, stage: "GenerateImages", ctx: ShardContext, tools: Tools) -> None:
        self._stage = stage
        self._ctx = ctx
        self._tools = tools
        self._batch_ends: set[int] = set()
        tools.batches.on_smaller = lambda line: ctx.remark(f"warning: {line}")

    def run(self, samples: list[Sample]) -> Iterator[Made]:
        """What becomes of each sample, in order."""
        to_draw = [sample for sample in samples if not sample.left_out]
        drawn = self._saved_and_drawn(to_draw)
        for sample in samples:
            if sample.left_out:
                yield Made(sample.key, sample.seed, LEFT_OUT, sample.left_out)
            else:
                yield next(drawn)

    def _saved_and_drawn(self, samples: list[Sample]) -> Iterator[Made]:
        """What was saved, then what is drawn, which is saved now and then."""
        saved = Saved(self._ctx, self._stage.save_every_s)
        num_done = 0
        for made in saved.restore(samples):
            num_done += 1
            yield made
        num_left = len(samples) - num_done
        num_drawn = 0
        for made in self._draw(samples[num_done:]):
            num_drawn += 1
            if num_drawn < num_left:
                saved.add(made, num_drawn in self._batch_ends)
            yield made
        if num_drawn < num_left:
            saved.save()
            raise ShardStopped

    def _draw(self, samples: list[Sample]) -> Iterator[Made]:
        """Whole batches, until the worker is to stop."""
        tools = self._tools
        batches = self._batches(samples)
        if tools.device.type == "cuda":
            encoded = ordered_map(self._encode, batches, tools.encoder, ahead=1)
        else:  # the same cores would do both, and two threads' worth of them slow each other down
            encoded = map(self._encode, batches)
        ahead = 2 * tools.batches.size
        return ordered_map(self._finish, self._pictures(encoded), tools.finishers, ahead)

    def _batches(self, samples: list[Sample]) -> Iterator[list[Sample]]:
        start = 0
        while start < len(samples):
            batch = samples[start : start + self._tools.batches.size]
            start += len(batch)
            yield batch

    def _encode(self, batch: list[Sample]) -> tuple[list[Sample], Encoded]:
        return batch, self._tools.diffusion.encode([sample.prompt for sample in batch])

    def _pictures(
        self, batches: Iterator[tuple[list[Sample], Encoded]]
    ) -> Iterator[tuple[Sample, bool, Picture]]:
        num_drawn = 0
        for batch, encoded in batches:
            if self._ctx.should_stop:
                return
            seeds = [sample.seed for sample in batch]
            pictures = self._tools.batches.run(
                range(len(batch)), functools.partial(self._draw_part, encoded, seeds)
            )
            num_drawn += len(batch)
            self._batch_ends.add(num_drawn)
            yield from zip(batch, encoded.is_cut, pictures, strict=True)

    def _draw_part(self, encoded: Encoded, seeds: list[int], rows: range) -> list[Picture]:
        part = encoded[rows.start : rows.stop]
        least = self._tools.batches.least
        return self._tools.diffusion.draw(part, seeds[rows.start : rows.stop], least)

    def _finish(self, drawn: tuple[Sample, bool, Picture]) -> Made:
        return self._tools.make_files(*drawn)
