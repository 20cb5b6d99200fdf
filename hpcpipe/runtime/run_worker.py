"""One worker of a run, from its first look at the run directory to its last word in it."""

import logging
from collections.abc import Callable

from hpcpipe.config import Config
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.rundir import Launch, RunDir
from hpcpipe.runtime.access import check_access, check_output, explaining_moves
from hpcpipe.runtime.code import notes, stage_hash
from hpcpipe.runtime.deadline import Job
from hpcpipe.runtime.log_file import LogFile, log_to
from hpcpipe.runtime.meter import Meter, given_to_worker
from hpcpipe.runtime.patience import Patience
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.scratch import scratch_root
from hpcpipe.runtime.session import Session
from hpcpipe.runtime.signals import StopFlag
from hpcpipe.runtime.worker import Worker, WorkerResult

logger = logging.getLogger(__name__)


def run_worker(
    run: RunDir,
    config: Config,
    launch: Launch,
    index: int,
    label: str,
    flag: StopFlag,
    on_event: Callable[[Event], None] = lambda event: None,
    job: Job | None = None,
) -> WorkerResult:
    """Work on a run until nothing is left to claim, or until told to stop.

    Args:
        run: the run directory.
        config: its config.
        launch: the launch this worker belongs to.
        index: the worker's index in that launch.
        label: what people know it by.
        flag: tells it to stop.
        on_event: called with every event this worker records.
        job: the batch job this worker is, if any.

    Returns:
        What it did.

    Raises:
        SetupError: it cannot work at all, and has taken no shard; or its run directory is gone.
        KeyboardInterrupt: interrupted from the terminal; everything is released.
        OSError: the run directory fails.
    """
    options = config.run
    patience = Patience(options.max_env_failures, options.backoff_s, flag)
    warning = patience.insist(lambda: check_access(run))
    patience.insist(lambda: check_output(run))
    state, reader = patience.insist(lambda: open_state(run, config))
    session = patience.insist(lambda: _session(run, config, launch, label, patience))
    note = "died"
    try:
        log = patience.insist(lambda: LogFile(run.logs / f"{label}.log", label))
        with log_to(log), explaining_moves(run):
            for line in filter(None, (warning, *notes([launch], [session.identity]))):
                logger.warning("%s", line)
            worker = Worker(
                session, config, launch, index, state, reader, flag, on_event, job, patience
            )
            try:
                result = worker.work()
            finally:
                session.release()
        note = result.stopped
    except KeyboardInterrupt:
        note = "interrupted"
        raise
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
        raise
    finally:
        session.close(note)
    _leave(worker, run, label)
    return result


def _session(
    run: RunDir, config: Config, launch: Launch, label: str, patience: Patience
) -> Session:
    scratch = scratch_root(config.run.scratch)
    meter = Meter(given_to_worker(launch, config.resources), whole_process=launch.kind != "here")
    code, every_s = stage_hash(type(config.stage)), config.run.heartbeat_s
    return Session(run, label, launch.number, scratch, every_s, meter, code, patience)


def _leave(worker: Worker, run: RunDir, label: str) -> None:
    """After it has said that it ended: who looks now must not take it for one at work."""
    try:
        log = LogFile(run.logs / f"{label}.log", label)
    except OSError as error:
        logger.warning("the run is not closed by this worker: %s", error)
        return
    with log_to(log):
        worker.leave()
