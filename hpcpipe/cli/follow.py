"""Printing log lines as workers write them."""

import re
import time
from pathlib import Path

from hpcpipe.cli.watch import Watcher
from hpcpipe.console import say
from hpcpipe.manifest.rundir import RunDir

POLL_S = 0.5
ALIVE_EVERY_S = 2.0


def follow(run: RunDir, watcher: Watcher, only: Path | None, names: re.Pattern[str] | None) -> None:
    """Print new lines until no worker of the run is left.

    Args:
        run: the run.
        watcher: tells whether workers are left.
        only: one log; None for all.
        names: print only lines in which this is found; None for all.

    Returns:
        Nothing; also after Ctrl-C.

    Raises:
        OSError: a log cannot be read.
    """
    tail = Tail(run.logs, only)
    try:
        while True:
            until = time.monotonic() + ALIVE_EVERY_S
            is_live = watcher.is_live()
            while True:
                for line in tail.new_lines():
                    if names is None or names.search(line):
                        say(line)
                if not is_live or time.monotonic() > until:
                    break
                time.sleep(POLL_S)
            if not is_live:
                return
    except KeyboardInterrupt:
        return


class Tail:
    """Reads what is appended to logs, beginning at their ends."""

    def __init__(self, folder: Path, only: Path | None) -> None:
        """Begin at the ends of the logs there are; new ones are read from their beginning.

        Args:
            folder: folder of ``*.log`` files.
            only: one of them; None for all.

        Raises:
            OSError: a log cannot be read.
        """
        self._folder = folder
        self._only = only
        self._offsets = {path: path.stat().st_size for path in self._paths()}

    def _paths(self) -> list[Path]:
        return [self._only] if self._only is not None else sorted(self._folder.glob("*.log"))

    def new_lines(self) -> list[str]:
        """Read whole lines that are new.

        Returns:
            The lines, log by log.

        Raises:
            OSError: a log cannot be read.
        """
        lines: list[str] = []
        for path in self._paths():
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = self._offsets.get(path, 0) + len(data)
            lines += data.decode("utf-8", "replace").splitlines()
        return lines
