"""hpcpipe: stages over shards on a SLURM cluster, with a manifest that knows what is done.

From Python, ``hpcpipe.run("reshard", input=..., output=...)`` does what the command does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcpipe.compose.api import RunResult, run
    from hpcpipe.compose.pipeline_api import PipelineResult, run_pipeline
    from hpcpipe.errors import (
        BadInputError,
        ConfigError,
        HpcPipeError,
        LaunchError,
        PlanError,
        RunMismatchError,
        SetupError,
        ShardError,
        TransientShardError,
        UpstreamIncompleteError,
    )
    from hpcpipe.stage import Input, Shard, Stage

__version__ = "0.1.0"

_EXPORTS = {
    "hpcpipe.compose.api": ("RunResult", "run"),
    "hpcpipe.compose.pipeline_api": ("PipelineResult", "run_pipeline"),
    "hpcpipe.stage": ("Input", "Shard", "Stage"),
    "hpcpipe.errors": (
        "BadInputError",
        "ConfigError",
        "HpcPipeError",
        "LaunchError",
        "PlanError",
        "RunMismatchError",
        "SetupError",
        "ShardError",
        "TransientShardError",
        "UpstreamIncompleteError",
    ),
}

__all__ = [
    "BadInputError",
    "ConfigError",
    "HpcPipeError",
    "Input",
    "LaunchError",
    "PipelineResult",
    "PlanError",
    "RunMismatchError",
    "RunResult",
    "SetupError",
    "Shard",
    "ShardError",
    "Stage",
    "TransientShardError",
    "UpstreamIncompleteError",
    "run",
    "run_pipeline",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used, so that importing hpcpipe costs nothing."""
    for module, names in _EXPORTS.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'hpcpipe' has no attribute {name!r}")
