"""A worker's presence in a run directory: identity, journal, heartbeat, scratch."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from hpcpipe.errors import OutageError, SetupError, is_environment_error
from hpcpipe.manifest.files import nonce, write_new
from hpcpipe.manifest.heartbeat import Heartbeat
from hpcpipe.manifest.identity import Identity, own_identity
from hpcpipe.manifest.journal import Event, JournalWriter
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime.meter import Meter
from hpcpipe.runtime.patience import Patience
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
        exit_stack: what the stage wants closed at the end.
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
        patience: Patience | None = None,
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
            patience: for how long the journal may fail; None: not at all.

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
        self.exit_stack = ExitStack()
        self._lock = threading.Lock()
        self._patience = patience
        write_new(self.identity_path, msgspec.json.encode(self.identity))
        self._journal = JournalWriter(run.journal / f"{name}.jsonl")
        beat = run.workers / f"{name}.beat"
        try:
            self.heartbeat = Heartbeat(beat, heartbeat_s, lambda: self.watchdog(), self.meter.used)
        except OSError:
            self._close_journal()
            raise
        try:
            self.scratch = make_scratch(scratch, self.identity, run.path)
        except SetupError as error:
            self.heartbeat.end(f"SetupError: {error}")
            self._close_journal()
            raise
        self.heartbeat.start()

    def record(self, event: Event) -> Event:
        """Write an event to the journal, durably; waits out a filesystem that fails for a while.

        Args:
            event: the event.

        Returns:
            What was written: with the time, and the host where it had none.

        Raises:
            OSError: it could not be written, and the worker was told to stop.
        """
        event = self._completed(event)
        try:
            self._write(event)
        except OSError as error:
            if self._patience is None or not is_environment_error(error):
                raise
            self._patience.failed(error)
            self._patience.insist(self._write)
        return event

    def record_once(self, event: Event) -> None:
        """Write an event to the journal, durably, at the first try or not at all; from any thread.

        Args:
            event: as for `record`.

        Raises:
            OSError: it could not be written.
        """
        self._write(self._completed(event))

    def _completed(self, event: Event) -> Event:
        host = event.host or self.identity.node or self.identity.host
        return msgspec.structs.replace(event, at=time.time(), host=host)

    def _write(self, *events: Event) -> None:
        with self._lock:
            self._journal.write(*events)

    def prove_alive(self, lease_s: float) -> None:
        """Make sure that other workers cannot take this one for dead by now.

        Args:
            lease_s: how long after the last beat they may.

        Raises:
            OutageError: no heartbeat could be written for that long.
        """
        silent_s = self.heartbeat.silent_s
        if silent_s >= lease_s and not self.heartbeat.beat_now():
            raise OutageError(
                f"{self.heartbeat.path} could not be written for {silent_s:.0f} s: other workers "
                "take this one for dead after run.lease_s"
            )

    def release(self) -> None:
        """Close what the stage wants closed, while other workers still see this one alive.

        Returns:
            Nothing; what closing raises is logged.

        Raises:
            KeyboardInterrupt: interrupted from the terminal; the rest was closed all the same.
        """
        try:
            self.exit_stack.close()
        except Exception as error:
            logger.error("closing what the stage opened: %r", error, exc_info=error)

    def release_within(self, limit_s: float) -> None:
        """Do the same for a process that has to end, and go on after a while where it hangs.

        Args:
            limit_s: how long to wait.

        Returns:
            Nothing.

        Raises:
            Nothing.
        """
        thread = threading.Thread(target=self.release, name="release", daemon=True)
        thread.start()
        thread.join(limit_s)

    def close(self, note: str) -> None:
        """End the session; `release` comes before.

        Args:
            note: why it ended, in a few words; empty for a plain end.

        Raises:
            Nothing: every line of the journal was synced, so a late write error tells nothing.
        """
        self.heartbeat.end(note)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._close_journal()

    def _close_journal(self) -> None:
        try:
            self._journal.close()
        except OSError as error:
            logger.warning("journal of %s: %s", self.identity.name, error)
