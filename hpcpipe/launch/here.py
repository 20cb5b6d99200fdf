"""Working in this process, with a progress bar."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hpcpipe.console import say, warn
from hpcpipe.launch.pending import Pending, new_launch
from hpcpipe.launch.task import worker_label
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.progress import Progress
from hpcpipe.runtime.run_worker import run_worker
from hpcpipe.runtime.signals import StopFlag


def launch(pending: Pending) -> bool:
    """Work on a run until nothing is left to claim.

    Args:
        pending: the run.

    Returns:
        Whether Ctrl-C or TERM interrupted it.

    Raises:
        HpcPipeError: the worker cannot work.
        OSError: the run directory fails.
    """
    run, config = pending.run, pending.config
    here: Launch = new_launch(pending, "here", 1)
    say(f"log        {run.logs / worker_label(here, 0)}.log")
    flag = StopFlag(run.stop_file)
    try:
        with (
            Progress(pending.state, config.limit) as bar,
            flag.handle_signals(interrupt=True),
            _shown(bar),
        ):
            result = run_worker(run, config, here, 0, worker_label(here, 0), flag, bar.event)
    except KeyboardInterrupt:
        return True
    if result.stopped:
        warn(f"stopped: {result.stopped}")
    return False


class _Warnings(logging.Handler):
    """Shows warnings above the bar; they are in the log, too."""

    def __init__(self, bar: Progress) -> None:
        super().__init__(logging.WARNING)
        self._bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the terminal is gone; the log is not
            self._bar.tell(f"warning: {record.getMessage()}")


@contextmanager
def _shown(bar: Progress) -> Iterator[None]:
    handler = _Warnings(bar)
    logging.getLogger("hpcpipe").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("hpcpipe").removeHandler(handler)
