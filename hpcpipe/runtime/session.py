"""A worker's presence in a run directory: identity, journal, heartbeat, log file, scratch."""

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hpcpipe.errors import SetupError
from hpcpipe.manifest.files import nonce, write_new
from hpcpipe.manifest.heartbeat import Heartbeat
from hpcpipe.manifest.identity import Identity, own_identity
from hpcpipe.manifest.journal import Event, JournalWriter
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.meter import Meter
from hpcpipe.runtime.scratch import make_scratch

logger = logging.getLogger(__name__)


class Session:
    """What a worker keeps open while it works.

    Attributes:
        run: the run directory.
        identity: who this worker is.
        identity_path: its identity file, which claims are links to.
        heartbeat: beats until the session ends.
        meter: what the worker has used, for its beats.
        scratch: a node-local folder, removed at the end.
    """

    def __init__(
        self,
        run: RunDir,
        label: str,
        launch: int,
        scratch: Path,
        heartbeat_s: float,
        meter: Meter | None = None,
        code: str = "",
    ) -> None:
        """Make the worker's files.

        Args:
            run: the run directory.
            label: what people know the worker by.
            launch: number of its launch.
            scratch: node-local folder to make its scratch folder in.
            heartbeat_s: seconds between beats.
            meter: measures what the worker uses; None for one of nothing given.
            code: hash of the stage's source, where known.

        Raises:
            OSError: the run directory cannot be written.
            SetupError: there is no scratch folder to be had on this node.
        """
        self.run = run
        name = f"{label}-{nonce()}"
        self.identity: Identity = own_identity(name, label, launch, code)
        self.identity_path = run.workers / f"{name}.json"
        self.meter = meter or Meter()
        self.watchdog: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        write_new(self.identity_path, msgspec.json.encode(self.identity))
        self._journal = JournalWriter(run.journal / f"{name}.jsonl")
        self.heartbeat = Heartbeat(
            run.workers / f"{name}.beat", heartbeat_s, lambda: self.watchdog(), self.meter.used
        )
        try:
            self.scratch = make_scratch(scratch, self.identity, run.path)
        except SetupError as error:
            self.heartbeat.end(f"SetupError: {error}")
            self._journal.close()
            raise
        self.heartbeat.start()

    def record(self, event: Event) -> None:
        """Write an event to the journal, durably; safe from any thread.

        Args:
            event: the event; time and host are filled in where it has none.

        Raises:
            OSError: it could not be written.
        """
        host = event.host or self.identity.node or self.identity.host
        event = msgspec.structs.replace(event, at=time.time(), host=host)
        with self._lock:
            self._journal.write(event)

    def close(self, note: str) -> None:
        """End the session.

        Args:
            note: why it ended, in a few words; empty for a plain end.

        Raises:
            OSError: the journal reports a late write error.
        """
        self.heartbeat.end(note)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._journal.close()


@contextlib.contextmanager
def log_to(path: Path, label: str) -> Iterator[None]:
    """Append the ``hpcpipe`` loggers' lines to a file while inside.

    Args:
        path: the log file; appended, never truncated.
        label: the worker, for every line.

    Yields:
        Nothing.

    Raises:
        OSError: it cannot be opened.
        Exception: whatever ended what is inside, which is logged.
    """
    handler = logging.FileHandler(path, mode="a", encoding="utf-8", errors="backslashreplace")
    line = f"%(asctime)s %(levelname)s {label} %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(line, datefmt="%Y-%m-%dT%H:%M:%S%z"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    except Exception:
        logger.exception("worker stopped")
        raise
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
