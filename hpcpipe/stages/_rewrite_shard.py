"""One shard of captions: read, those in other languages left out, the others rewritten."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hpcpipe.clients.llm_client import LlmClient
from hpcpipe.clients.llm_records import Answer, Question
from hpcpipe.clients.llm_start import StartedServers
from hpcpipe.formats.captions import encode_captions
from hpcpipe.stage import Shard, ShardContext, ShardStopped, WorkerContext
from hpcpipe.stages._rewrite_again import is_to_be_asked_again, rows_before
from hpcpipe.stages._rewrite_answer import judge
from hpcpipe.stages._rewrite_language import LanguageFilter
from hpcpipe.stages._rewrite_read import read_captions
from hpcpipe.stages._rewrite_rows import (
    FAILED,
    MADE,
    MAX_ANSWER_CHARS,
    META_SUFFIX,
    NO_CAPTION,
    OTHER_LANGUAGE,
    Progress,
    Row,
    encode_rows,
)
from hpcpipe.stages._rewrite_watch import Watch

if TYPE_CHECKING:
    from hpcpipe.stages.rewrite_captions import RewriteCaptions

SAVE_EVERY_S = 5.0


class Tools:
    """What a worker keeps from shard to shard: servers it started, what it knows of all servers."""

    def __init__(self, stage: RewriteCaptions, ctx: WorkerContext) -> None:
        """Start servers, where they are to be started, and wait until one answers.

        Args:
            stage: the options.
            ctx: the worker's.

        Raises:
            SetupError: a library is missing, no server answers, or one refuses key or model.
        """
        options = stage.servers
        self.judge = judge(stage.answer)
        self.filter = None
        if stage.language is not None:
            self.filter = LanguageFilter(stage.language, stage.min_language_score)
        self.started: StartedServers | None = None
        urls = options.urls
        if options.start.command is not None:
            started = StartedServers(options.start.command, options.start.num, ctx.scratch)
            self.started = ctx.exit_stack.enter_context(started)
            urls = started.urls
        self.client = LlmClient(stage.chat_model, options, urls, stage.attempts)
        self.watch = Watch(self.client)
        self.client.wait_until_ready(
            lambda server: self.started.check(server.url) if self.started is not None else None
        )


def rewrite(stage: RewriteCaptions, shard: Shard, ctx: ShardContext, tools: Tools) -> None:
    """Rewrite the captions of one shard.

    Args:
        stage: the options.
        shard: which.
        ctx: the framework's help.
        tools: the worker's.

    Raises:
        BadInputError: the file is damaged.
        OutageError: no server answers, or a remote store is down.
        TransientShardError: reading failed otherwise.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    captions = read_captions(shard.inputs[0], ctx)
    done = _Shard(stage, ctx, tools, captions).run(rows_before(shard, ctx))
    prompts = {row.key: row.prompt for row in done if row.prompt is not None}
    output = ctx.output(f"{shard.id}.json")
    output.write(encode_captions(prompts))
    output.num_samples = len(prompts)
    ctx.output(f"{shard.id}{META_SUFFIX}").write(encode_rows(done))
    ctx.progress(len(prompts))


class _Shard:
    """The captions of one shard on their way."""

    def __init__(
        self,
        stage: RewriteCaptions,
        ctx: ShardContext,
        tools: Tools,
        captions: list[tuple[str, str | None]],
    ) -> None:
        self._stage = stage
        self._ctx = ctx
        self._tools = tools
        self._captions = captions
        self._rows: list[Row | None] = [None] * len(captions)
        self._asked: dict[int, Row] = {}
        self._tries_before: dict[int, int] = {}
        self._progress = Progress(ctx)
        self._saved_at = time.monotonic()
        self._num_made = 0

    def run(self, before: Mapping[str, Row]) -> list[Row]:
        """Make the rows of all captions, from those there were when the shard was done before."""
        saved = self._progress.saved()
        for index, (key, caption) in enumerate(self._captions):
            row = saved.get(key) or self._kept(before.get(key), index, caption)
            if row is not None:
                self._add(index, row)
                self._progress.add(row)
        self._progress.save()  # those of before as well, since their list is about to be replaced
        try:
            is_done = self._tools.client.ask(
                self._questions(), self._tools.judge, self._take, self._should_end
            )
        finally:
            self._progress.save()
        if not is_done:
            raise ShardStopped
        return [row for row in self._rows if row is not None]

    def _kept(self, row: Row | None, index: int, caption: str | None) -> Row | None:
        """The row itself, unless its caption is to be asked again, or for the first time."""
        if row is None or row.caption != caption:
            return None
        if not is_to_be_asked_again(row):
            return row
        self._tries_before[index] = row.tries
        return None

    def _questions(self) -> Iterator[Question]:
        template = self._stage.filled_in
        for index, (key, caption) in enumerate(self._captions):
            if self._rows[index] is not None:
                continue
            row = Row(key=key, status=MADE, caption=caption)
            if not self._is_wanted(row, caption):
                self._add(index, row)
                continue
            row.choices = template.draw(key)
            row.model, row.seed = self._stage.model, template.sampling_seed(key)
            self._asked[index] = row
            row.tries = self._tries_before.get(index, 0)
            text = template.fill_in(caption or "", row.choices)
            yield Question(index, text, row.seed + row.tries)

    def _is_wanted(self, row: Row, caption: str | None) -> bool:
        """Tell whether a caption is to be rewritten; its row says why not."""
        if caption is None:
            row.status, row.reason, row.message = NO_CAPTION, "missing", "there is no caption"
            return False
        if not caption.strip():
            row.status, row.reason, row.message = NO_CAPTION, "empty", "the caption is empty"
            return False
        if self._tools.filter is None:
            return True
        row.language, row.language_score, is_kept = self._tools.filter(caption)
        wanted = self._stage.language
        if not is_kept:
            row.status = OTHER_LANGUAGE
            row.reason = "unsure" if row.language == wanted else row.language
            row.message = f"{wanted} by {row.language_score}, less than stage.min_language_score"
        return is_kept

    def _take(self, answer: Answer) -> None:
        row = self._asked.pop(answer.index)
        row.tries += answer.num_tries
        row.server, row.prompt = answer.server, answer.text
        failure = answer.failure
        if failure is not None:
            row.status, row.reason, row.message = FAILED, failure.kind, failure.text
            row.answer = failure.answer[:MAX_ANSWER_CHARS] or None
        self._add(answer.index, row)
        self._progress.add(row)
        self._tools.watch.add(row.reason)
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._progress.save()
            self._saved_at = time.monotonic()

    def _add(self, index: int, row: Row) -> None:
        self._rows[index] = row
        self._ctx.count("samples")
        if row.status == MADE:
            self._num_made += 1
            if _words(row.prompt or "") == _words(row.caption or ""):
                self._ctx.count("prompts_unchanged")
        else:
            self._ctx.count(f"{row.status}.{row.reason}")
        self._ctx.progress(self._num_made)

    def _should_end(self) -> bool:
        if self._tools.started is not None:
            self._tools.started.restart_dead()
        self._tools.watch.remark(self._ctx)
        return self._ctx.should_stop


def _words(text: str) -> list[str]:
    """What is said, however it is punctuated."""
    return re.findall(r"\w+", text.casefold())
