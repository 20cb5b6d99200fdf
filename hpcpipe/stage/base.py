"""`Stage`: the class every stage is one of."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from hpcpipe.stage.options import Location
from hpcpipe.stage.plan_contexts import PlanContext, RetryContext
from hpcpipe.stage.records import Look, Model, Shard
from hpcpipe.stage.work_contexts import FinalizeContext, LookContext, ShardContext, WorkerContext


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """One thing that is done to every shard.

    Subclasses are frozen, keyword-only dataclasses without default values: values live in the
    YAML alone. Checks across options belong in ``__post_init__`` and raise `ConfigError`.

    Attributes:
        input: what to read.
        output: folder to write to; None means ``out/`` in the run directory.
    """

    deterministic: ClassVar[bool] = True
    """False where two attempts may give different bytes (downloads, LLM, GPU)."""
    extendable: ClassVar[bool] = True
    """False where new inputs change every shard (a global plan), so ``extend=true`` is refused."""

    input: Location | list[Location]
    output: Location | None

    @abstractmethod
    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """List the shards: the same ids in the same order for the same inputs, and cheaply.

        Raises:
            PlanError: there is nothing to do, or the inputs are at fault.
        """

    def plan_retries(self, ctx: RetryContext) -> Iterable[Shard]:
        """List shards that try again what failed inside finished ones (``retry_failed=true``).

        For stages whose shards are done even where single samples failed. Either of two ways:

        New ids, with outputs of their own. Finished shards stay as they are, and what is tried
        again must be told from `RetryContext.planned` the next time.

        Ids that the run has, with the inputs they had. Such a shard is done again, and its meta
        says what of its result it begins with: `ShardContext.previous_output` finds that. Its
        outputs stay until the new ones take their place; its new counters replace the old ones.
        `plan` gives it again as `PlanContext.planned` has it, lest ``extend=true`` see a change.

        Args:
            ctx: the framework's help.

        Returns:
            The shards; none where nothing is worth another try. A stage that has no such method
            is refused ``retry_failed=true``.

        Raises:
            PlanError: what is needed for it is gone.
        """
        return ()

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterable[Look]:
        """Show some samples of a finished shard, for the run's contact sheet.

        Read no more than it takes; say of single files that cannot be had that they are missing.

        Args:
            shard: the shard.
            ctx: the framework's help.
            num_samples: how many, at most; chosen by ``ctx.random`` from all.

        Returns:
            The samples. A stage that has no such method has no contact sheets.

        Raises:
            HpcPipeError: the shard's files cannot be read.
            OSError: the same.
        """
        return ()

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Name the files a shard will write, where that is known before it is done.

        A launch refuses names that exist already and belong to no run, and names that two
        shards share.

        Args:
            shard: a shard of the plan.

        Returns:
            Paths relative to the output folder; none by default.

        Raises:
            Nothing.
        """
        return ()

    def estimated_output_bytes(self, num_bytes: int) -> int | None:
        """Say about how many bytes are written for shards that read `num_bytes`.

        A launch refuses what does not fit. None where nobody can tell. Raises nothing.
        """
        return None

    def models(self) -> Iterable[Model]:
        """Name the models that workers load.

        A launch refuses to start where one of them is not there, and ``fetch-models`` downloads
        them: workers find them with ``hpcpipe.models.hub.find``, and never use the network.

        Returns:
            The models; none by default.

        Raises:
            Nothing.
        """
        return ()

    def setup(self, ctx: WorkerContext) -> Any:
        """Make what all shards of a worker share (models, open tables); runs once a worker.

        Raises:
            SetupError: this worker cannot work; it takes no shard.
        """
        return None

    @abstractmethod
    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Do one shard, writing only through ``ctx.output``.

        Raises:
            BadInputError: the shard's data is at fault; it is quarantined.
            TransientShardError: worth another try.
            ShardStopped: the worker was told to stop.
        """

    def finalize(self, ctx: FinalizeContext) -> None:
        """Run once when all shards are done; may be run again, and must then do the same.

        Raises:
            BadInputError: the run's results are at fault.
        """
        return None
