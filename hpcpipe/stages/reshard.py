"""Reshard: new tars from old ones, either shard by shard or cut anew.

Overlay (``stage.index`` not given): every tar becomes a tar of the same name, with edits put in
and samples left out. Repack (``stage.index=DIR``): samples of all tars are dealt into new ones.
This file holds the options and their checks; the work is in ``_overlay`` and ``_repack``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hpcpipe.errors import ConfigError
from hpcpipe.formats.samples import Duplicates
from hpcpipe.stage import Location, PlanContext, Shard, ShardContext, Stage, WorkerContext
from hpcpipe.stages import _overlay, _overlay_plan, _repack

_REPACK_ONLY = ("shard_samples", "shard_bytes")


@dataclass(frozen=True, kw_only=True)
class Reshard(Stage):
    """New tars from old ones, with edits put in, samples left out, or dealt anew.

    Attributes:
        input: tars; None with `index`, which knows them.
        output: folder for the new tars.
        edits: folder with ``SHARD.tar``, ``SHARD/`` (loose files) or ``SHARD.json`` (new captions)
            for shards that have edits.
        keep: list of the keys or uids to keep; None keeps all.
        keep_field: what the list holds; None finds out.
        require: extensions a sample must have to be kept.
        lone_json: what to do with an edit that is only a json.
        duplicates: what to do with equal keys in a tar, or in a repacked one.
        index: output folder of ``stage=index``; given, the samples are repacked.
        shard_samples: samples in a repacked tar.
        shard_bytes: bytes in a repacked tar, at most.
        shuffle: deal samples in random order over all repacked tars.
        seed: of that order.
        keys: sample keys of repacked tars.
    """

    input: Location | list[Location] | None  # type: ignore[assignment]
    edits: Location | None
    keep: Location | list[Location] | None
    keep_field: Literal["key", "uid"] | None
    require: list[str]
    lone_json: Literal["ignore", "apply"]
    duplicates: Duplicates
    index: Location | None
    shard_samples: int | None
    shard_bytes: int | None
    shuffle: bool
    seed: int
    keys: Literal["keep", "prefix", "renumber"]

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: they do not.
        """
        if self.index is None:
            self._check_overlay()
        else:
            self._check_repack()
        if self.keep is None and self.keep_field is not None:
            raise ConfigError("stage.keep_field says what stage.keep lists: give stage.keep too")
        for extension in self.required:
            if not extension or "/" in extension:
                raise ConfigError(
                    f"stage.require: {extension!r} is no extension; give e.g. "
                    "stage.require=[jpg,json]"
                )

    @property
    def required(self) -> frozenset[str]:
        """`require` as webdataset writes extensions: lower case, no dot in front."""
        return frozenset(extension.lower().lstrip(".") for extension in self.require)

    @property
    def extendable(self) -> bool:  # type: ignore[override]
        """Repacked tars all change with every new input."""
        return self.index is None

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """List the tars to make.

        Args:
            ctx: the framework's help.

        Returns:
            One shard for each new tar.

        Raises:
            PlanError: inputs, edits or the keep list are missing or malformed.
        """
        if self.index is None:
            return _overlay_plan.plan(self, ctx)
        return _repack.plan(self, ctx)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Name the one tar that a shard makes. Raises nothing."""
        return (f"{shard.id}.tar",)

    def estimated_output_bytes(self, num_bytes: int) -> int | None:
        """Say how large the new tars will be: as the old ones, or as repacking was planned.

        Args:
            num_bytes: bytes of the tars to read, or of the samples to repack.

        Returns:
            The same; None where a keep list or `require` leaves nobody knows how many out.

        Raises:
            Nothing.
        """
        is_known = self.index is not None or (self.keep is None and not self.require)
        return num_bytes if is_known else None

    def setup(self, ctx: WorkerContext) -> Any:
        """Open what all shards of a worker share.

        Args:
            ctx: the framework's help.

        Returns:
            State for `process`.

        Raises:
            SetupError: an artifact of the plan cannot be read.
        """
        if self.index is None:
            return _overlay.setup(self, ctx)
        return _repack.setup(self, ctx)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Make one tar.

        Args:
            shard: which.
            ctx: the framework's help.
            state: what `setup` gave.

        Raises:
            BadInputError: the input is damaged.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            ShardStopped: the worker was told to stop.
        """
        if self.index is None:
            _overlay.process(self, shard, ctx, state)
        else:
            _repack.process(self, shard, ctx, state)

    def _check_overlay(self) -> None:
        if self.input is None:
            raise ConfigError("stage.input is required: add stage.input='/data/shards/*.tar'")
        given = [name for name in _REPACK_ONLY if getattr(self, name) is not None]
        given += ["shuffle"] if self.shuffle else []
        given += ["keys"] if self.keys != "keep" else []
        if given:
            raise ConfigError(
                f"stage.{given[0]} repacks samples, which needs an index of them: run stage=index "
                "first and give its output folder as stage.index"
            )
        if self.edits is None and self.lone_json != "ignore":
            raise ConfigError("stage.lone_json says what to do with edits: give stage.edits too")
        if self.edits is not None and self.edits.rstrip("/") == (self.output or "").rstrip("/"):
            raise ConfigError(
                f"stage.output {self.output} is the folder of stage.edits too, where the new tars "
                "would pass for edits: give another stage.output"
            )

    def _check_repack(self) -> None:
        if self.input is not None:
            raise ConfigError(
                "stage.index knows the tars it was made from: leave stage.input out with it"
            )
        if self.edits is not None or self.lone_json != "ignore":
            raise ConfigError(
                "stage.edits and stage.lone_json do not go with stage.index: put the edits in "
                "first, index the result, then repack that"
            )
        if (self.shard_samples is None) == (self.shard_bytes is None):
            raise ConfigError(
                "with stage.index give stage.shard_samples=N or stage.shard_bytes=SIZE, one of them"
            )
        for name in _REPACK_ONLY:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"stage.{name}: {value} is too small; it must be 1 or more")
