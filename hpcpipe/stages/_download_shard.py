"""One shard of a download: its rows read, fetched and written as they come.

One thread fetches and writes; others turn what came into samples (``_download_sample``).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from hpcpipe.clients.fetcher import Fetcher
from hpcpipe.clients.records import Fetched, Request
from hpcpipe.formats.download_rows import URL, DownloadRow
from hpcpipe.formats.download_shard import DownloadShard
from hpcpipe.formats.url_list_read import UrlReader, list_file
from hpcpipe.stage import Shard, ShardContext, ShardStopped
from hpcpipe.stages._download_plan import FAILED
from hpcpipe.stages._download_sample import SampleMaker
from hpcpipe.stages._download_watch import Watch

if TYPE_CHECKING:
    from hpcpipe.stages.download import Download

SHARD_DEADLINE = "shard_deadline"
"""Class of what was not fetched when the shard's time was over."""
OPT_OUT = "opt_out_"
"""How the classes of `clients.failure.Failure` begin that are their owners' will."""


class Tools:
    """What a worker keeps from shard to shard: connections, names, the list it reads."""

    def __init__(self, stage: Download) -> None:
        """Open nothing yet.

        Args:
            stage: the options.

        Raises:
            SetupError: a library is missing.
        """
        self.fetcher = Fetcher(stage.fetch)
        self.reader = UrlReader(stage.columns)
        self.make_sample = SampleMaker(stage)
        self.pool = ThreadPoolExecutor(stage.image_threads, "samples")
        self.max_made = 4 * stage.image_threads
        self.watch = Watch(self.fetcher)


def download(stage: Download, shard: Shard, ctx: ShardContext, tools: Tools) -> None:
    """Download one shard.

    Args:
        stage: the options.
        shard: which range of the list.
        ctx: the framework's help.
        tools: the worker's.

    Raises:
        BadInputError: the list is damaged.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    file = list_file(shard.inputs, shard.meta, ctx.artifact)
    num_read = tools.reader.num_read
    batches = tools.reader.read(file, shard.meta["first_row"], shard.num_samples or 0)
    first = next(batches)
    with DownloadShard(ctx.output, shard.id, first.schema, stage.shard_format) as out:
        _Shard(stage, shard, ctx, tools, out).run(_rows(first, batches))
    ctx.count_read(tools.reader.num_read - num_read)
    tools.watch.look()


def _rows(first: Any, batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    yield from first.to_pylist()
    for batch in batches:
        yield from batch.to_pylist()


class _Shard:
    """The rows of one shard on their way."""

    def __init__(
        self, stage: Download, shard: Shard, ctx: ShardContext, tools: Tools, out: DownloadShard
    ) -> None:
        self._stage = stage
        self._number = int(shard.meta["number"])
        self._failed: dict[str, int] = shard.meta.get(FAILED, {})
        self._ctx = ctx
        self._tools = tools
        self._out = out
        self._open: dict[int, dict[str, Any]] = {}
        self._is_read = False
        self._made: deque[tuple[int, Future[tuple[DownloadRow, bytes | None]]]] = deque()
        self._made_bytes = 0
        limit_s = stage.shard_deadline_s
        self._until = time.monotonic() + limit_s if limit_s is not None else float("inf")

    def run(self, rows: Iterator[dict[str, Any]]) -> None:
        """Fetch and write all rows; the last ones fail where time is over."""
        numbered = enumerate(rows)
        fetched = self._tools.fetcher.fetch(self._requests(numbered), self._should_end)
        with closing(fetched):  # whatever fails: the fetcher has to be free for the next shard
            for one in fetched:
                self._take(one)
        if self._ctx.should_stop and (self._open or not self._is_read):
            raise ShardStopped
        while self._made:
            self._write_oldest()
        for index, row in itertools.chain(sorted(self._open.items()), numbered):
            self._give_up(index, row)
        for failure, number in self._failed.items():  # which were counted where they failed first
            self._ctx.count(_counter("failed_to_download", failure), -number)

    def _should_end(self) -> bool:
        return self._ctx.should_stop or time.monotonic() > self._until

    def _requests(self, numbered: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Request]:
        for index, row in numbered:
            self._open[index] = row
            yield Request(index, row[URL] or "")
        self._is_read = True

    def _take(self, fetched: Fetched) -> None:
        """Have a sample made of what came, and write those that are ready, in this order."""
        listed = self._open.pop(fetched.index)
        key = self._stage.names.key(self._number, fetched.index)
        if self._tools.make_sample.is_quick:  # quicker than to hand it to another thread
            self._write(*self._tools.make_sample(key, listed, fetched))
            return
        made = self._tools.pool.submit(self._tools.make_sample, key, listed, fetched)
        self._made.append((len(fetched.content), made))
        self._made_bytes += len(fetched.content)
        while self._made and (self._made[0][1].done() or self._has_many):
            self._write_oldest()

    @property
    def _has_many(self) -> bool:
        """Samples that are made take enough memory, or keep all threads busy."""
        most_bytes = self._stage.fetch.max_file_bytes
        return len(self._made) > self._tools.max_made or self._made_bytes > most_bytes

    def _write_oldest(self) -> None:
        num_bytes, made = self._made.popleft()
        self._write(*made.result())
        self._made_bytes -= num_bytes

    def _give_up(self, index: int, listed: dict[str, Any]) -> None:
        """Write a row that there was no time for."""
        row = DownloadRow(
            key=self._stage.names.key(self._number, index),
            listed=listed,
            status="failed_to_download",
            error_class=SHARD_DEADLINE,
            error_message="the shard's time was over (stage.shard_deadline_s)",
        )
        self._write(row, None)

    def _write(self, row: DownloadRow, content: bytes | None) -> None:
        self._out.add(row, content)
        self._ctx.count("retried" if self._failed else "urls")
        if row.error_class is not None:
            self._ctx.count(_counter(row.status, row.error_class))
        self._ctx.count_read(row.num_bytes or 0)
        self._ctx.progress(self._out.stats.successes)
        is_lost = row.status == "failed_to_download"
        self._tools.watch.add(row.error_class if is_lost else None, self._ctx)


def _counter(status: str, failure: str) -> str:
    """Name of the counter of a failure, as `ShardContext.count` wants it."""
    if failure.startswith(OPT_OUT):
        return f"left_out_by_their_owners.{failure.removeprefix(OPT_OUT)}"
    return f"{status}.{failure}"
