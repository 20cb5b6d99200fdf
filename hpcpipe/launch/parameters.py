"""What submitit is told of one array: resources, site, signals, and how workers share a job."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hpcpipe.config import Config, SlurmLauncher
from hpcpipe.errors import ConfigError

SIGNAL_BEFORE_LIMIT_S = 120
EXPORT_CPUS = 'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"'
"""srun does not inherit ``--cpus-per-task`` from the job since SLURM 22.05."""
_GPU_OPTIONS = ("gpus_per_node", "gpus_per_task", "num_gpus", "gres")


class Layout(NamedTuple):
    """How the workers of one job lie on its nodes.

    Attributes:
        workers_per_node: one where the job is the worker; more start by srun.
        num_nodes: nodes of a job.
    """

    workers_per_node: int
    num_nodes: int

    @property
    def workers_per_job(self) -> int:
        """Number of workers that one task of the array stands for."""
        return self.workers_per_node * self.num_nodes


def layout(options: Mapping[str, Any]) -> Layout:
    """Read from SLURM options how many workers share a job.

    Args:
        options: the user's and the site's, as submitit calls them.

    Returns:
        The layout; one worker a job where nothing else is asked for.

    Raises:
        ConfigError: a number is none.
    """
    tasks = options.get("ntasks_per_node") or options.get("tasks_per_node") or 1
    nodes = options.get("nodes") or 1
    for name, value in (("tasks_per_node", tasks), ("nodes", nodes)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"slurm.{name}: expected a number of 1 or more, got {value!r}")
    return Layout(tasks, nodes)


def worker_parameters(config: Config, launcher: SlurmLauncher) -> dict[str, Any]:
    """Parameters for submitit; the user's own pass through untouched, None removes one.

    Args:
        config: the run's config.
        launcher: how many workers, and options for submitit.

    Returns:
        The parameters of a worker's job.

    Raises:
        ConfigError: an option that is read here, too, has no sensible value.
    """
    resources, site = config.resources, config.site
    options = {**site.slurm, **launcher.slurm}
    additional = options.pop("additional_parameters", None) or {}
    if "tasks_per_node" in options:
        options["ntasks_per_node"] = options.pop("tasks_per_node")
    shape = layout(options)
    use_srun = options.setdefault("use_srun", shape.workers_per_job > 1)
    if shape.workers_per_job > 1 and not use_srun:
        raise ConfigError("launcher.slurm.use_srun=false: several workers in one job need srun")
    if any(options.get(name) for name in _GPU_OPTIONS):
        num_gpus = 0
    else:
        num_gpus = resources.gpus * shape.workers_per_node
    mem_gb = (resources.mem_gb or 0) * shape.workers_per_node
    given = {
        "job_name": f"hpcpipe-{config.stage_name}-{config.run_name}",
        "time": resources.time_min,
        "cpus_per_task": resources.cpus,
        "gpus_per_node": num_gpus or None,
        "mem": f"{int(mem_gb * 1024)}MB" if mem_gb else None,
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "setup": site.setup,
        "array_parallelism": max((launcher.max_parallel or 1_000_000) // shape.workers_per_job, 1),
        "stderr_to_stdout": True,
        "wckey": None,  # submitit's own default, which some sites refuse
        **options,
    }
    given["setup"] = [*(given["setup"] or []), *([EXPORT_CPUS] if use_srun else [])] or None
    # Without srun the worker is the batch process, which B: means; srun's are the job's steps.
    signal = f"{'' if use_srun else 'B:'}USR2@{SIGNAL_BEFORE_LIMIT_S}"
    additional = {"requeue": True, "signal": signal, **additional}
    return {**given, "additional_parameters": additional}


def excluded(config: Config, nodes: Iterable[str]) -> str:
    """List the nodes that workers are kept from.

    Args:
        config: the config of a launch, with the user's own ``exclude``.
        nodes: the run's bad nodes.

    Returns:
        What sbatch's ``--exclude`` takes; empty for none.

    Raises:
        Nothing.
    """
    own = config.launcher.slurm if isinstance(config.launcher, SlurmLauncher) else {}
    by_user = {**config.site.slurm, **own}.get("exclude")
    return ",".join([*([str(by_user)] if by_user else []), *nodes])
