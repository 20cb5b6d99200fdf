"""Logs a run's finished shards to Weights & Biases, from its journals alone.

One step a shard, in the order in which they are first seen, each once however often the process is
started. How often to look is the caller's.
"""

import os
import time
from typing import Any

from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError, missing_extra
from hpcpipe.manifest.journal import FINALIZE, JournalReader
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.done_table import Counted
from hpcpipe.runtime.find import config_name
from hpcpipe.runtime.logbook import Logbook
from hpcpipe.runtime.metrics import Metrics

TABLE_EVERY_S = 60.0


class Feed:
    """Everything that is logged of one run.

    Attributes:
        num_logged: shards that this process logged.
        url: the page of the run; None while offline.
    """

    def __init__(self, run: RunDir, book: Logbook) -> None:
        """Open the run on Weights & Biases.

        Args:
            run: the run.
            book: what was logged of it.

        Raises:
            SetupError: wandb is not installed.
            ConfigError: it does not take the run, or is told to log nothing.
            OSError: the run directory cannot be read.
        """
        self._book = book
        self._reader = JournalReader(run.journal, Counted)
        self._total = Metrics()
        self._table_at = float("-inf")
        self._num_in_table = 0
        self.num_logged = 0
        self._wandb, self._out = _opened(run, book)
        self.url: str | None = self._out.url
        self._known: set[str] = set(book.shards)
        self._is_first_look = True

    def _log_known(self) -> None:
        """Count what was sent, and send the rest under the steps that it had."""
        done = self._new_events(self._known)
        for step, shard in enumerate(self._book.shards):
            event = done.pop(shard, None)
            if event is not None:
                self._log(event, step, send=step >= self._book.num_sent)
        self._add(done)

    def look(self) -> None:
        """Log the shards that were finished since; at first, those that may not have been sent.

        Raises:
            OSError: the run directory cannot be read or written.
        """
        if self._is_first_look:
            self._is_first_look = False
            self._log_known()
        else:
            self._add(self._new_events(frozenset()))

    def _new_events(self, also: "set[str] | frozenset[str]") -> dict[str, Counted]:
        """New results by shard, those of the first attempt; of known shards only these."""
        found: dict[str, Counted] = {}
        for _, events in self._reader.batches():
            for event in events:
                if event.event != "done" or event.shard == FINALIZE:
                    continue
                if event.shard in self._known and event.shard not in also:
                    continue
                before = found.get(event.shard)
                if before is None or event.attempt < before.attempt:
                    found[event.shard] = event
        return found

    def _add(self, done: dict[str, Counted]) -> None:
        if not done:
            return
        first = len(self._book.shards)
        events = sorted(done.values(), key=lambda event: (event.at, event.shard))
        self._book.add([event.shard for event in events])
        self._known.update(done)
        for step, event in enumerate(events, start=first):
            self._log(event, step, send=True)

    def _log(self, event: Counted, step: int, *, send: bool) -> None:
        one = Metrics()
        one.add(event)
        self._total.add(event)
        if not send:
            return
        figures = {**one.named("worker"), **self._total.named("total")}
        self._out.log({**figures, "_timestamp": event.at}, step=step)
        self.num_logged += 1
        if time.monotonic() - self._table_at >= TABLE_EVERY_S:
            self._log_table(step)

    def _log_table(self, step: int) -> None:
        rows = [list(row) for row in self._total.statuses()]
        if rows:
            columns = ["status", "frequency", "count"]
            self._out.log({"status": self._wandb.Table(columns=columns, data=rows)}, step=step)
        self._table_at = time.monotonic()
        self._num_in_table = self.num_logged

    def close(self) -> None:
        """Send what is left, and note that it was. Raises OSError."""
        if self.num_logged > self._num_in_table:
            self._log_table(len(self._book.shards) - 1)
        self._out.finish()
        self._book.sent()


def _opened(run: RunDir, book: Logbook) -> tuple[Any, Any]:
    """The library, and the run in it: a new one, or the one that was begun."""
    try:
        import wandb
    except ImportError as error:
        raise missing_extra("wandb", "wandb", "logging to Weights & Biases") from error
    from omegaconf import OmegaConf

    mode = wandb.setup().settings.mode
    if mode == "disabled":
        raise ConfigError("WANDB_MODE=disabled: nothing would be logged: unset it, or say offline")
    config: Any = OmegaConf.to_container(read_yaml(run.path / config_name(run)), resolve=False)
    settings = wandb.Settings(
        console="off", quiet=True, disable_git=True, disable_code=True, x_disable_stats=True
    )
    try:
        opened = wandb.init(
            project=book.project,
            id=book.run_id,
            resume="allow" if mode == "online" else None,
            name=run.info.run_name,
            job_type=run.info.stage,
            config=config,
            dir=os.environ.get("WANDB_DIR", run.path),
            settings=settings,
        )
    except wandb.errors.Error as error:
        raise ConfigError(
            f"Weights & Biases does not take it: {error} (log in with wandb login; with "
            "WANDB_MODE=offline it is written to files, for wandb sync)"
        ) from error
    return wandb, opened
