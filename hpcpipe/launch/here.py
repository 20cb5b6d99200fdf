"""Working in this process, with a progress bar."""

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
        with Progress(pending.state, config.limit) as bar, flag.handle_signals(interrupt=True):
            result = run_worker(run, config, here, 0, worker_label(here, 0), flag, bar.event)
    except KeyboardInterrupt:
        return True
    if result.stopped:
        warn(f"stopped: {result.stopped}")
    return False
