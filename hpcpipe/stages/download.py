"""Download: files or images from lists of URLs, into shards of a dataset.

A shard is a range of a list's rows. This file holds the options and the plan; how one shard is
downloaded is in ``_download_shard``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from hpcpipe.clients.options import FetchOptions
from hpcpipe.errors import ConfigError
from hpcpipe.formats.digests import DigestKind
from hpcpipe.formats.download_rows import OutputFormat, ShardFormat, check_names
from hpcpipe.formats.image_options import ImageOptions
from hpcpipe.formats.shard_names import ShardNames
from hpcpipe.formats.url_list_columns import UrlColumns
from hpcpipe.stage import (
    TUNING,
    PlanContext,
    RetryContext,
    Shard,
    ShardContext,
    Stage,
    TuningInt,
    WorkerContext,
)
from hpcpipe.stages._download_plan import plan_lists
from hpcpipe.stages._download_retry import plan_retries
from hpcpipe.stages._download_shard import Tools, download

_ENDINGS = {"webdataset": ".tar", "tfrecord": ".tfrecord"}


@dataclass(frozen=True, kw_only=True)
class Download(Stage):
    """Files from a list of URLs.

    Attributes:
        url_col: column of the list with the URLs.
        caption_col: column with the captions; None for a list without.
        save_cols: further columns that are kept with every sample.
        kind: ``image``, or ``file`` for whatever comes.
        file_size: with ``kind=file``, the `image.image_size` that images among the files are
            subsampled to; None to keep all files as they come.
        output_format: what the samples are written as.
        shard_samples: rows of the list that make a shard.
        shard_digits: digits of a shard's number in its name.
        digest: checksum that is noted of every file as it was downloaded; None for none.
        verify_col: column with checksums that the files must have; None where nothing is compared.
        bbox_col: column with what is to be blurred in the images: for each box left, top, right and
            bottom, 0 to 1; as JSON where the list is text. None where nothing is.
        shard_deadline_s: what is not there so long after a shard's begin has failed; None to wait.
        fetch: how URLs are fetched.
        image: what becomes of images.
        image_threads: images that are resized at once in a worker.
    """

    deterministic: ClassVar[bool] = False

    url_col: str
    caption_col: str | None
    save_cols: list[str]
    kind: Literal["image", "file"]
    file_size: int | None
    output_format: OutputFormat
    shard_samples: int
    shard_digits: int
    digest: DigestKind | None
    verify_col: str | None
    bbox_col: str | None
    shard_deadline_s: float | None
    fetch: Annotated[FetchOptions, TUNING]
    image: ImageOptions
    image_threads: TuningInt

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: they do not.
        """
        for name in ("shard_samples", "shard_digits", "image_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"stage.{name}={getattr(self, name)}: must be 1 or more")
        if self.shard_deadline_s is not None and self.shard_deadline_s <= 0:
            raise ConfigError(f"stage.shard_deadline_s={self.shard_deadline_s}: must be above 0")
        if self.verify_col is not None and self.digest is None:
            raise ConfigError(
                "stage.verify_col compares checksums: say which with stage.digest=md5 or sha256"
            )
        if self.file_size is not None and (self.kind == "image" or self.file_size < 1):
            raise ConfigError(
                f"stage.file_size={self.file_size}: pixels that images are subsampled to with "
                "stage.kind=file; with stage.kind=image it is stage.image.image_size"
            )
        if self.bbox_col is not None and self._keeps_bytes:
            raise ConfigError(
                "stage.bbox_col blurs images: stage.kind must be image, and "
                "stage.image.disable_all_reencoding false"
            )

    @cached_property
    def columns(self) -> UrlColumns:
        """The columns of the list that are read. Raises ConfigError."""
        more = [name for name in (self.verify_col, self.bbox_col) if name is not None]
        additional = dict.fromkeys([*self.save_cols, *more])
        return UrlColumns(url=self.url_col, caption=self.caption_col, additional=tuple(additional))

    @cached_property
    def names(self) -> ShardNames:
        """Names of shards and keys of samples. Raises nothing."""
        return ShardNames(samples_per_shard=self.shard_samples, shard_digits=self.shard_digits)

    @cached_property
    def shard_format(self) -> ShardFormat:
        """How shards are written. Raises nothing."""
        return ShardFormat(
            output_format=self.output_format,
            images=self.kind == "image",
            exif=self.kind == "image" and self.image.extract_exif,
            digest=self.digest,
            extension=self._extension,
        )

    @property
    def _extension(self) -> str | None:
        """The extension of all samples; None where each keeps its own."""
        return None if self._keeps_bytes else self.image.encode_format

    @property
    def _keeps_bytes(self) -> bool:
        return self.kind == "file" or self.image.disable_all_reencoding

    @property
    def images_to_make(self) -> ImageOptions | None:
        """What becomes of images; None where all files are kept as they come. Raises nothing."""
        if self.kind == "image":
            return self.image
        if self.file_size is None:
            return None
        return replace(self.image, image_size=self.file_size)

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """Cut the lists into ranges of rows.

        Args:
            ctx: the framework's help.

        Returns:
            One shard a range; it keeps the number that it was planned with before.

        Raises:
            ConfigError: a column cannot be saved under its name.
            PlanError: a list cannot be read, is malformed or lacks a column.
        """
        check_names(list(self.columns.names), self.shard_format)
        return plan_lists(self, ctx)

    def plan_retries(self, ctx: RetryContext) -> Iterable[Shard]:
        """List shards of the rows that failed in finished ones and may pass.

        Args:
            ctx: the framework's help.

        Returns:
            The shards; none where no row is worth another try.

        Raises:
            PlanError: a table or a list is gone, changed or damaged.
            OutageError: a remote store is down.
            OSError: reading or writing failed.
        """
        return plan_retries(self, ctx)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Name a shard's files, loose samples aside. Raises nothing."""
        names = [f"{shard.id}.parquet", f"{shard.id}_stats.json"]
        if self.output_format in _ENDINGS:
            names.append(f"{shard.id}{_ENDINGS[self.output_format]}")
        return names

    def setup(self, ctx: WorkerContext) -> Tools:
        """Be ready to fetch: connections and names are kept from shard to shard.

        Args:
            ctx: the framework's help.

        Returns:
            What `process` works with.

        Raises:
            SetupError: a library is missing.
        """
        return Tools(self)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Download one range of the list.

        Args:
            shard: which.
            ctx: the framework's help.
            state: what `setup` gave.

        Raises:
            BadInputError: the list is damaged.
            OutageError: the store with the list is down.
            TransientShardError: it failed otherwise.
            ShardStopped: the worker was told to stop.
            OSError: reading or writing failed.
        """
        download(self, shard, ctx, state)
