"""Writing the sbatch file instead of submitting it: a dry run, or a hand-over."""

import shlex
from pathlib import Path

from hpcpipe.config import ScriptLauncher
from hpcpipe.console import plural, say
from hpcpipe.errors import ConfigError
from hpcpipe.launch.parameters import EXPORT_CPUS, SIGNAL_BEFORE_LIMIT_S, excluded, layout
from hpcpipe.launch.pending import Pending, new_launch, python_command, show
from hpcpipe.launch.slurm import num_workers
from hpcpipe.manifest.files import replace
from hpcpipe.manifest.rundir import Launch


def launch(pending: Pending, launcher: ScriptLauncher) -> None:
    """Write ``submit.sbatch`` and say how to submit it.

    Args:
        pending: the run.
        launcher: how many workers, and where to write.

    Raises:
        ConfigError: the file cannot be written.
        OSError: the run directory cannot be written.
    """
    number = num_workers(pending, launcher.array_size, launcher.min_shards_per_worker)
    per_job = layout(pending.config.site.slurm).workers_per_job
    number = -(-number // per_job) * per_job
    max_jobs = max(launcher.max_parallel // per_job, 1) if launcher.max_parallel else 0
    record = new_launch(pending, "script", number, per_job, max_jobs)
    path = Path(launcher.path or pending.run.path / "submit.sbatch")
    try:
        replace(path, _text(pending, launcher, record).encode())
    except OSError as error:
        raise ConfigError(f"launcher.path {path} cannot be written: {error.strerror}") from error
    say(f"script     {show(path)}, {plural(number, 'worker')}")
    say(f"submit     sbatch {shlex.quote(show(path))}")
    say(f"status     python -m hpcpipe status {show(pending.run.path)}")


def _text(pending: Pending, launcher: ScriptLauncher, record: Launch) -> str:
    run, config = pending.run, pending.config
    resources, site = config.resources, config.site
    shape = layout(site.slurm)
    throttle = f"%{record.max_jobs}" if record.max_jobs else ""
    mem_gb = (resources.mem_gb or 0) * shape.workers_per_node
    options = {
        "job-name": f"hpcpipe-{config.stage_name}-{run.info.run_name}",
        "array": f"0-{record.num_workers // shape.workers_per_job - 1}{throttle}",
        "output": f"{run.logs}/slurm-%A_%a.out",
        "open-mode": "append",
        "time": resources.time_min,
        "cpus-per-task": resources.cpus,
        "gpus-per-node": resources.gpus * shape.workers_per_node or None,
        "mem": f"{int(mem_gb * 1024)}MB" if mem_gb else None,
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "signal": f"B:USR2@{SIGNAL_BEFORE_LIMIT_S}",
        **{_flag(key): value for key, value in site.slurm.items()},
    }
    options["exclude"] = excluded(config, pending.bad_nodes) or None
    flags = [
        f"#SBATCH --{key}={shlex.quote(str(value))}"
        for key, value in options.items()
        if value is not None
    ]
    # exec makes the worker, or srun, which hands signals on, the batch process that gets them.
    srun = "srun " if shape.workers_per_job > 1 else ""
    command = ["-m", "hpcpipe", "work", str(run.path), f"--launch={record.number}"]
    lines = ["#!/bin/bash", *flags, "#SBATCH --requeue", "", *site.setup]
    lines += [EXPORT_CPUS] if srun else []
    folder = f"cd {shlex.quote(record.cwd)}"
    worker = f"exec {srun}{python_command(site)} {shlex.join(command)}"
    return "\n".join([*lines, folder, worker, ""])


def _flag(name: str) -> str:
    """Name for sbatch of an option that submitit may call otherwise."""
    return {"tasks_per_node": "ntasks-per-node"}.get(name, name.replace("_", "-"))
