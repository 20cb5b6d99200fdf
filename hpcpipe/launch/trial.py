"""Asking SLURM beforehand, for all steps of a pipeline, whether their jobs could ever run.

One ``sbatch --test-only`` for every distinct set of resources; nothing is submitted. Only what can
never run is a refusal: nodes that are busy or out of service now, or a limit on the number of jobs,
are left to the submission itself.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpcpipe.config import SlurmLauncher
from hpcpipe.config.pipeline import StepConfig
from hpcpipe.console import warn
from hpcpipe.errors import LaunchError
from hpcpipe.launch import slurm
from hpcpipe.launch.models import is_complete
from hpcpipe.launch.parameters import worker_parameters
from hpcpipe.launch.refusal import refusal
from hpcpipe.launch.squeue import TIMEOUT_S
from hpcpipe.launch.step_jobs import plan_parameters

_REFUSED = re.compile(r"allocation failure|(unrecognized|invalid) option|error: Invalid")
_ANOTHER_TIME = re.compile(
    r"busy|down, drained|contact|timed out|standby|temporar"
    # A reservation that is yet to begin; a site's own sbatch, which knows no trials.
    r"|invalid time specified|test.only",
    re.IGNORECASE,
)
_NO_SUCH_NODES = "Requested node configuration is not available"
"""Also said of nodes that would do, and are out of service: a job would wait for them."""
_USABLE = re.compile(r"(idle|mixed|allocated|completing|planned)[~#+-]?\|up\b")
_NODE_FORMAT = "%T|%a|%c|%m|%G"
_ASKED = (
    *("partition", "account", "qos", "constraint", "nodelist", "exclude", "nodes"),
    *("ntasks_per_node", "cpus_per_task", "gpus_per_node", "gpus_per_task", "gres"),
    *("mem", "mem_per_cpu", "mem_per_gpu", "time"),
)


def check_steps(steps: Sequence[StepConfig]) -> None:
    """Refuse a pipeline where the jobs of a step could never run; nothing is submitted.

    Args:
        steps: steps that SLURM is to run; those that are complete may ask for anything.

    Returns:
        Nothing.

    Raises:
        LaunchError: SLURM's words, with the step and the options to change.
        ConfigError: the options for submitit contradict each other.
        HpcPipeError: the run of a step that cannot be submitted is damaged.
        OSError: a filesystem fails.
    """
    answers: dict[str, str] = {}
    problems = []
    for step in steps:
        for jobs, parameters in _jobs(step):
            problem = _problem(parameters, answers)
            if problem and not is_complete(step.config):
                begin = f"step {step.name}: SLURM takes no such {jobs}, so nothing was submitted:"
                problems.append(refusal(f"{problem}\n{_asked(parameters)}", begin, step.name))
                break
    if problems:
        raise LaunchError("\n".join(problems))
    for step in steps:
        _warn_of_the_time(step)


def _jobs(step: StepConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a step submits: its workers, and its plan job where it waits for others."""
    launcher = step.config.launcher
    assert isinstance(launcher, SlurmLauncher)
    yield "workers", worker_parameters(step.config, launcher)
    if step.needs:
        yield "plan job", plan_parameters(step.config, launcher)


def _problem(parameters: Mapping[str, Any], answers: dict[str, str]) -> str:
    """Why a job could never run, in SLURM's words; empty where it could, or nobody knows."""
    try:
        text = _script({**parameters, "job_name": "hpcpipe", "setup": None})
    except ValueError as error:
        return str(error)
    if text not in answers:
        answer = _ask(["sbatch", "--test-only"], text)
        is_refused = _REFUSED.search(answer) and not slurm.TOO_MANY.search(answer)
        is_for_ever = is_refused and not _ANOTHER_TIME.search(answer)
        if is_for_ever and _NO_SUCH_NODES in answer and _may_be_out_of_service(parameters):
            is_for_ever = False
        answers[text] = answer if is_for_ever else ""
    return answers[text]


def _warn_of_the_time(step: StepConfig) -> None:
    """Tell of a time limit above the partition's, with which many clusters let a job wait for ever.

    Only a warning, since a QOS may allow more than the partition does.
    """
    _, parameters = next(_jobs(step))
    partition, time_min = parameters.get("partition"), parameters.get("time")
    if not isinstance(partition, str) or "," in partition or not isinstance(time_min, int):
        return
    limit = _ask(["sinfo", "--noheader", "--format=%l", f"--partition={partition}"]).strip()
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d+", limit)
    if found is None:  # unlimited, or nobody knows
        return
    limit_min = sum(int(n or 0) * m for n, m in zip(found.groups(), (1440, 60, 1), strict=True))
    if time_min > limit_min:
        warn(
            f"warning: step {step.name}: a time limit of {time_min} minutes is more than "
            f"partition {partition} allows ({limit_min}), so its workers may wait for ever: see "
            f"{step.name}.resources.time_min"
        )


def _script(parameters: dict[str, Any]) -> str:
    """The batch file of one such job. Raises ValueError for options that submitit does not know."""
    import submitit

    executor = submitit.SlurmExecutor(folder=tempfile.gettempdir(), python="python")
    executor.update_parameters(**parameters)
    return executor._make_submission_file_text("true", "")


def _may_be_out_of_service(parameters: Mapping[str, Any]) -> bool:
    """Whether nodes that take no jobs now have the size that a job asks for."""
    partition = parameters.get("partition")
    where = [f"--partition={partition}"] if partition else []
    answer = _ask(["sinfo", "--noheader", "--Node", f"--format={_NODE_FORMAT}", *where])
    wanted = [
        _number(parameters.get("cpus_per_task")) * _number(parameters.get("ntasks_per_node", 1)),
        _number(parameters.get("mem")),
        _number(parameters.get("gpus_per_node")),
    ]
    for line in answer.splitlines():
        if line.count("|") != _NODE_FORMAT.count("|"):
            continue  # a warning
        *_, num_cpus, mem_mb, gres = line.split("|")
        num_gpus = sum(map(int, re.findall(r"gpu:(?:[^:,(]+:)?(\d+)", gres)))
        there = [_number(num_cpus), _number(mem_mb), num_gpus]
        if not _USABLE.match(line) and all(a >= b for a, b in zip(there, wanted, strict=True)):
            return True
    return False


def _number(value: Any) -> int:
    """The number in what SLURM or submitit call ``8``, ``8000+``, ``512MB`` or ``a100:4``."""
    found = re.search(r"(\d+)\D*$", str(value))
    return int(found[1]) if found else 0


def _ask(command: list[str], text: str = "") -> str:
    """All that a command says; nothing where it cannot be asked, as the submission will show."""
    with slurm.clean_environment():
        try:
            done = subprocess.run(
                command,
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stdout


def _asked(parameters: Mapping[str, Any]) -> str:
    given = {key: parameters.get(key) for key in _ASKED}
    return "asked: " + ", ".join(f"{key}={value}" for key, value in given.items() if value)
