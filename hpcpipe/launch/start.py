"""Starting a run in the way its config says, and telling the user what was started."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from hpcpipe.config import (
    Config,
    LocalLauncher,
    ScriptLauncher,
    SlurmLauncher,
    SparkLauncher,
    load,
)
from hpcpipe.console import plural, say, warn
from hpcpipe.errors import ConfigError
from hpcpipe.launch import here, local, not_started, script, slurm, spark
from hpcpipe.launch.compact import open_compacted
from hpcpipe.launch.exclude import leave_bad_nodes, retry_elsewhere
from hpcpipe.launch.models import check_models
from hpcpipe.launch.pending import Pending, new_launch, show
from hpcpipe.launch.prepare import prepare
from hpcpipe.launch.space import check_space
from hpcpipe.launch.spark_session import check_available
from hpcpipe.manifest.code import Code
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.models.hub import commits
from hpcpipe.runtime.access import check_access
from hpcpipe.runtime.accounting import speed_in_words, used_in_words
from hpcpipe.runtime.closing import close_if_over
from hpcpipe.runtime.code import changes, code_of
from hpcpipe.runtime.contact_sheet import FILE as SHEET
from hpcpipe.runtime.exit_code import exit_code
from hpcpipe.runtime.find import read_options
from hpcpipe.runtime.listed import listed_lines
from hpcpipe.runtime.remarks import read_remarks
from hpcpipe.runtime.results import open_state
from hpcpipe.runtime.sources import NO_SOURCES
from hpcpipe.runtime.summary import Observer
from hpcpipe.runtime.unmade import is_unmade
from hpcpipe.runtime.unmade_text import MAX_WIDTH, made_lines

SHORT_LIMIT_MIN = 6
"""Time limits that are less leave a worker half of its job or less."""


class Started(NamedTuple):
    """What `start` did.

    Attributes:
        run_dir: the run directory.
        exit_code: code of the command so far.
        is_waiting: workers are queued or running now, so that it can be followed.
    """

    run_dir: Path
    exit_code: int
    is_waiting: bool = False


def start(
    config: Config, mode: Literal["here", "submit"], sources: Mapping[str, str] = NO_SOURCES
) -> Started:
    """Start a run, or go on with it.

    Args:
        config: the config.
        mode: ``here`` works in this process; ``submit`` starts workers by the config's launcher.
        sources: digest of what the runs hold that this one reads from, by output folder.

    Returns:
        The run directory and the command's exit code.

    Raises:
        HpcPipeError: it could not be started; the message says why.
        KeyboardInterrupt: interrupted; the run can be resumed.
    """
    max_array_size = _check_launcher(config) if mode == "submit" else 0
    check_models(config, f"stage={config.stage_name}")
    run, how = prepare(config, sources)
    if warning := check_access(run):
        warn(f"warning: {warning}")
    state, reader = open_compacted(run, config)
    bad = leave_bad_nodes(run, config, state) if mode == "submit" else []
    state, reader = retry_elsewhere(run, config, state, bad) or (state, reader)
    code = exit_code(state, config, config.limit, has_finalize=run.info.has_finalize)
    pending = Pending(run, config, state, reader, len(state.pending(config.limit)), bad)
    _announce(pending, how)
    if code in (0, 3):
        if not _are_options_known(pending, code):
            new_launch(pending, "here", 0)
        say(f"result     {_result(code)}: nothing left to do")
        close_if_over(run, config.run, state)
        return Started(run.path, code)
    _tell_of_other_code(pending)
    check_space(pending, _num_workers(pending, mode))
    if mode == "submit" and isinstance(config.launcher, SlurmLauncher | ScriptLauncher):
        _warn_of_short_limit(config.resources.time_min)
    run.stop_file.unlink(missing_ok=True)
    if mode == "here":
        return Started(run.path, report(pending, interrupted=here.launch(pending)))
    if isinstance(config.launcher, LocalLauncher):
        interrupted = local.launch(pending, config.launcher)
        return Started(run.path, report(pending, interrupted=interrupted))
    if isinstance(config.launcher, SparkLauncher):
        interrupted = spark.launch(pending, config.launcher)
        return Started(run.path, report(pending, interrupted=interrupted))
    if isinstance(config.launcher, SlurmLauncher):
        slurm.launch(pending, config.launcher, max_array_size)
        return Started(run.path, 0, is_waiting=True)
    script.launch(pending, config.launcher)
    return Started(run.path, 0)


def _check_launcher(config: Config) -> int:
    """Make sure that workers can be started, before anything is made; the largest array there is.

    Raises as the launchers' own checks do.
    """
    launcher = config.launcher
    if isinstance(launcher, SlurmLauncher):
        return slurm.check_available()
    if isinstance(launcher, LocalLauncher):
        local.check_gpus(config, launcher)
    if isinstance(launcher, SparkLauncher):
        check_available(config)
    return 0


def _are_options_known(pending: Pending, code: int) -> bool:
    """Whether the last launch tells those who read the run and its output what they need."""
    try:
        stored = read_options(pending.run)
    except ConfigError:
        return False  # as far as can be told another version's, which is why this was launched
    return code != 0 or stored.max_failed_fraction == pending.config.run.max_failed_fraction


def _warn_of_short_limit(time_min: int) -> None:
    if time_min < SHORT_LIMIT_MIN:
        warn(
            f"warning: resources.time_min={time_min}: workers are told 2 to 3 minutes before the "
            "limit to stop, and may get nothing done; 10 minutes or more are worth a job"
        )


def _tell_of_other_code(pending: Pending) -> None:
    """Shards that are finished stay as they are, whatever made them; that should be known."""
    num_done = pending.state.counts()["done"]
    known = [launch for launch in pending.run.read_launches() if launch.code != Code()]
    if not num_done or not known:
        return
    stage = pending.config.stage
    found = changes(known[-1].code, code_of(type(stage), commits(stage.models())))
    if found:
        warn(
            f"warning: the code changed since launch {known[-1].number}: {'; '.join(found)}. "
            f"{plural(num_done, 'finished shard')} stay as they are; another run_name or "
            "stage.output makes all of them anew"
        )


def _num_workers(pending: Pending, mode: Literal["here", "submit"]) -> int:
    """Most workers that a launch starts."""
    launcher = pending.config.launcher
    if mode == "here":
        return 1
    if isinstance(launcher, LocalLauncher | SparkLauncher):
        return launcher.num_workers
    return slurm.num_workers(pending, launcher.array_size, launcher.min_shards_per_worker)


def _announce(pending: Pending, how: str) -> None:
    run, num_shards = pending.run, len(pending.state.plan)
    num_done = pending.state.counts()["done"]
    todo = plural(pending.num_pending, "shard") + " to do"
    say(f"run        {show(run.path)} ({how})")
    say(f"output     {run.info.output}")
    say(f"shards     {num_shards:,} in the plan, {num_done:,} done, {todo}")
    for remark in read_remarks(run.path):
        say(f"plan       {remark}")


def report(pending: Pending, *, interrupted: bool = False) -> int:
    """Print how a run ended.

    Args:
        pending: the run.
        interrupted: whether the user ended it.

    Returns:
        The exit code.

    Raises:
        OSError: the run directory cannot be read.
    """
    run = pending.run
    observer = Observer(run, pending.config.run)
    summary = observer.summarize()
    config, state = pending.config, observer.state
    code = exit_code(state, config, config.limit, has_finalize=run.info.has_finalize)
    code = 130 if interrupted else code
    number = state.counts(config.limit)
    rest = ", ".join(f"{number[k]:,} {k}" for k in ("quarantined", "pending") if number[k])
    say(f"result     {_result(code)}: {number['done']:,} done{', ' + rest if rest else ''}")
    if used := used_in_words(summary.accounting) if code == 0 else "":
        speed = speed_in_words(summary.overall)
        say(f"used       {used}{'; ' + speed if speed else ''}")
    for line in made_lines(summary.num_samples, summary.unmade, MAX_WIDTH):
        say(line)
    others = {name: value for name, value in summary.stats.items() if not is_unmade(name)}
    counted = [f"{name} {value:,}" for name, value in others.items() if value]
    if counted:
        say(f"counted    {', '.join(counted)}")
    for line in listed_lines(summary.listed):
        say(line)
    if (run.path / SHEET).exists():
        say(f"sheet      {show(run.path / SHEET)}")
    for line in not_started.explain(run) if code == 4 else ():
        say(line)
    if code:
        say(f"look       python -m hpcpipe status {show(run.path)}")
    return code


def _result(code: int) -> str:
    texts = {0: "complete", 3: "shards are quarantined", 130: "interrupted, can be resumed"}
    return texts.get(code, "incomplete, launch again to go on")


def follow(run_dirs: list[Path]) -> int:
    """Wait until submitted runs end, showing progress.

    Args:
        run_dirs: their run directories.

    Returns:
        The worst exit code.

    Raises:
        HpcPipeError: a run directory cannot be read.
        KeyboardInterrupt: interrupted; the workers go on.
    """
    codes = []
    for path in run_dirs:
        run = RunDir(path)
        launches = run.read_launches()
        config = load(path, f"launches/{launches[-1].number}.yaml")
        state, reader = open_state(run, config)
        num_pending = len(state.pending(config.limit))
        pending = Pending(run, config, state, reader, num_pending)
        try:
            slurm.follow(pending)
            codes.append(report(pending))
        except KeyboardInterrupt:
            warn(f"the workers go on; stop them with: python -m hpcpipe cancel {show(path)}")
            raise
    return max(codes, default=0)
