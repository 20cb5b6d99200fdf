"""The stage ``rewrite_captions``: new captions by a language model.

A shard is one file of captions, or one tar. This file holds the options and the plan; how one
shard is done is in ``_rewrite_shard``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from hpcpipe.clients import llm_api
from hpcpipe.clients.llm_options import ChatModel, LlmApi, ServerOptions
from hpcpipe.clients.llm_start import words
from hpcpipe.errors import ConfigError
from hpcpipe.stage import (
    TUNING,
    Look,
    LookContext,
    PlanContext,
    RetryContext,
    Shard,
    ShardContext,
    Stage,
    WorkerContext,
)
from hpcpipe.stages._file_shards import file_shards
from hpcpipe.stages._rewrite_again import as_planned, plan_retries
from hpcpipe.stages._rewrite_look import look
from hpcpipe.stages._rewrite_read import SUFFIXES, only_tars
from hpcpipe.stages._rewrite_rows import META_SUFFIX
from hpcpipe.stages._rewrite_shard import Tools, rewrite
from hpcpipe.stages._rewrite_template import Template


@dataclass(frozen=True, kw_only=True)
class RewriteCaptions(Stage):
    """New captions by a language model.

    Attributes:
        api: how the servers are asked: ``ollama`` or ``openai``.
        model: the model, as the servers call it.
        system: system prompt; None for the model's own.
        template: what a caption becomes for the model; has ``{caption}``, and names of `choices`.
        choices: for each name what one is drawn from, by the sample's key and `seed`.
        seed: of the choices, and of the model's sampling.
        options: passed on to the model.
        answer: ``one_line`` for exactly one line, without its quotes; ``text`` for anything that is
            not empty.
        attempts: of a caption, each at another server.
        language: captions in other languages are left out; None to keep all.
        min_language_score: how sure it has to be that a caption is in `language`, 0 to 1.
        servers: which servers, and with how much patience they are asked.
    """

    deterministic: ClassVar[bool] = False

    api: LlmApi
    model: str
    system: str | None
    template: str
    choices: dict[str, list[str]]
    seed: int
    options: dict[str, Any]
    answer: Literal["one_line", "text"]
    attempts: int
    language: str | None
    min_language_score: float
    servers: Annotated[ServerOptions, TUNING]

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: they cannot be used.
        """
        if self.attempts < 1:
            raise ConfigError(f"stage.attempts={self.attempts}: must be 1 or more")
        if not 0 <= self.min_language_score <= 1:
            raise ConfigError(
                f"stage.min_language_score={self.min_language_score}: must be from 0 to 1"
            )
        llm_api.check_options(self.chat_model)
        if self.servers.start.command is not None:
            words(self.servers.start.command, 0, "")
        self.filled_in  # noqa: B018 - a template that cannot be filled in is refused here

    @cached_property
    def chat_model(self) -> ChatModel:
        """What every request says. Raises nothing."""
        return ChatModel(
            api=self.api, name=self.model, system=self.system, options=dict(self.options)
        )

    @cached_property
    def filled_in(self) -> Template:
        """The template, to be filled in. Raises ConfigError."""
        return Template(self.template, self.choices, self.seed)

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """One shard for each file of captions or tar. Raises PlanError."""
        inputs = only_tars(ctx.list_inputs(self.input, SUFFIXES))
        planned = {shard.id: shard for shard in ctx.planned() if shard.meta}
        for shard in file_shards(inputs, self.input, SUFFIXES):
            yield as_planned(shard, planned)

    def plan_retries(self, ctx: RetryContext) -> Iterable[Shard]:
        """List shards again whose failed captions are to be asked again.

        Args:
            ctx: the framework's help.

        Returns:
            The shards; they go on from what they made.

        Raises:
            PlanError: their captions are gone or not what they were.
            OutageError: a remote store is down.
            OSError: reading failed.
        """
        return plan_retries(ctx)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """The prompts, and what became of each caption. Raises nothing."""
        return (f"{shard.id}.json", f"{shard.id}{META_SUFFIX}")

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterable[Look]:
        """Show captions and prompts, with some that were left out, for contact sheets.

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

    def setup(self, ctx: WorkerContext) -> Tools:
        """Start servers, where they are to be started, and wait until one answers.

        Args:
            ctx: the framework's help.

        Returns:
            What `process` works with.

        Raises:
            SetupError: a library is missing, no server answers, or one refuses key or model.
        """
        return Tools(self, ctx)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Rewrite the captions of one shard.

        Args:
            shard: which.
            ctx: the framework's help.
            state: what `setup` gave.

        Raises:
            BadInputError: the file is damaged.
            OutageError: no server answers, or a remote store is down.
            TransientShardError: it failed otherwise.
            ShardStopped: the worker was told to stop.
            OSError: reading or writing failed.
        """
        rewrite(self, shard, ctx, state)
