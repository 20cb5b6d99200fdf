"""A worker's log file."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from hpcpipe.console import visible

logger = logging.getLogger(__name__)


class _Visible(logging.Formatter):
    """Lines that do nothing to the terminal they are read on, whatever names are in them."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class LogFile(logging.FileHandler):
    """Appends lines to a file; one that cannot be written for a while stops nobody."""

    def __init__(self, path: Path, label: str) -> None:
        """Open it.

        Args:
            path: the log file; appended, never truncated.
            label: the worker, for every line.

        Raises:
            OSError: it cannot be opened.
        """
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")
        line = f"%(asctime)s %(levelname)s {label} %(name)s: %(message)s"
        self.setFormatter(_Visible(line, datefmt="%Y-%m-%dT%H:%M:%S%z"))
        self._is_told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; one that a thread says after the end is dropped, not a new file's first.

        Args:
            record: the line.

        Raises:
            Nothing.
        """
        if self.stream is not None:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that lines are missing; with the next line they are written, up to some.

        Args:
            record: the line.

        Raises:
            Nothing.
        """
        if not self._is_told:
            self._is_told = True
            self._tell(sys.exception())

    def close(self) -> None:
        """Close it. Raises nothing."""
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        # Standard error may be on the same disk.
        with contextlib.suppress(OSError):
            sys.stderr.write(f"log {self.baseFilename} cannot be written: {error}\n")


@contextlib.contextmanager
def log_to(file: LogFile) -> Iterator[None]:
    """Append what loggers say to a file while inside, and close it.

    Args:
        file: the log file.

    Yields:
        Nothing.

    Raises:
        Exception: whatever ended what is inside, which is logged.
    """
    root = logging.getLogger()
    level = root.level
    root.addHandler(file)
    root.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    except Exception:
        logger.exception("worker stopped")
        raise
    finally:
        root.removeHandler(file)
        root.setLevel(level)
        file.close()
