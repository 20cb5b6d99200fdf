"""Which GPUs of its node a worker uses: all that its process sees, or its share of them.

Several workers of one job see the same GPUs unless SLURM masks them (``--gpus-per-task``). Their
shares follow from their places on the node, and are set in the environment before anything that
reads it, such as torch, is imported. What a worker sees then is its own, numbered from 0.
"""

import os
import re
import subprocess
from typing import NamedTuple

from hpcpipe.console import plural
from hpcpipe.errors import SetupError
from hpcpipe.manifest.identity import slurm_number

CUDA = "CUDA_VISIBLE_DEVICES"
_PREFERRED = (CUDA, "HIP_VISIBLE_DEVICES")
_ROCR = "ROCR_VISIBLE_DEVICES"
_NONE = ("", "NoDevFiles", "-1")


class Place(NamedTuple):
    """Where a process stands among those of its job step.

    Attributes:
        rank: its number in the step.
        num_ranks: processes of the step, on all nodes.
        local_rank: its number on its node.
        num_local: processes of the step on its node.
    """

    rank: int
    num_ranks: int
    local_rank: int
    num_local: int


def place() -> Place:
    """Read this process's place from SLURM's environment.

    Returns:
        The place; the only one of one where no srun started it.

    Raises:
        Nothing.
    """
    num_ranks = slurm_number("STEP_NUM_TASKS")
    if not num_ranks:
        return Place(0, 1, 0, 1)
    per_node: list[int] = []
    for number, _, times in re.findall(
        r"(\d+)(\(x(\d+)\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    ):
        per_node += [int(number)] * int(times or 1)
    node = slurm_number("NODEID")
    return Place(
        rank=slurm_number("PROCID"),
        num_ranks=num_ranks,
        local_rank=slurm_number("LOCALID"),
        num_local=per_node[node] if node < len(per_node) else 1,
    )


def take_share(num_gpus: int, where: Place) -> None:
    """Leave a process its own GPUs to see; too few, or none, where there are not enough.

    Args:
        num_gpus: GPUs a worker needs.
        where: its place on the node.

    Raises:
        Nothing.
    """
    if not num_gpus or where.num_local == 1:
        return
    seen = visible()
    first = where.local_rank * num_gpus
    if seen is None:
        counted = count()
        seen = [str(n) for n in range(first + num_gpus if counted is None else counted)]
    if len(seen) < slurm_number("GPUS_ON_NODE"):
        first = 0  # each process of the step has been given others
    show_only(seen[first : first + num_gpus])


def show_only(devices: list[str]) -> None:
    """Let this process see some GPUs only.

    Args:
        devices: their names in the lists it sees now.

    Raises:
        Nothing.
    """
    # The variables of one list are aliases; another's numbers count within ROCR's.
    names = [name for name in _PREFERRED if name in os.environ]
    if not names:
        names = [_ROCR] if _ROCR in os.environ else [CUDA]
    for name in names:
        os.environ[name] = ",".join(devices)


def visible() -> list[str] | None:
    """List the GPUs that this process is said to see.

    Returns:
        Their numbers or names; None where nothing in the environment says so.

    Raises:
        Nothing.
    """
    for name in (*_PREFERRED, _ROCR):
        if (text := os.environ.get(name)) is not None:
            return [] if text.strip() in _NONE else [part.strip() for part in text.split(",")]
    return None


def count() -> int | None:
    """Count the GPUs of this machine.

    Returns:
        Their number; None where they cannot be counted.

    Raises:
        Nothing.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return len(re.findall(r"^GPU \d+", listed.stdout, re.MULTILINE)) or None


def check(num_gpus: int) -> None:
    """Make sure that a worker sees as many GPUs as it needs, where that can be told.

    Args:
        num_gpus: GPUs a worker needs.

    Raises:
        SetupError: it sees fewer.
    """
    seen, where = visible(), place()
    if seen is None or len(seen) >= num_gpus:
        return
    needs = f"a worker needs {plural(num_gpus, 'GPU')} (resources.gpus)"
    if where.num_local > 1:
        raise SetupError(
            f"{needs}, and {len(seen)} are left for worker {where.local_rank + 1} of "
            f"{where.num_local} on this node: start as many workers a node as it has GPUs for"
        )
    raise SetupError(
        f"{needs} and sees {len(seen)} here: resources=gpu asks SLURM for them, "
        "resources.gpus=0 does without"
    )
