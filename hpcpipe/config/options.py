"""The typed options that are no stage's own: how shards are run, and where.

Types and checks only; the values stand in ``conf/``, each with its comment.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from hpcpipe.errors import ConfigError
from hpcpipe.stage import Location

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
SomeSeconds = Annotated[float, msgspec.Meta(gt=0)]

MIN_BEATS = 2
"""Heartbeats that a lease has room for, or workers that are alive lose their shards."""

_SHARED = "run directories need a filesystem that all nodes share"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How shards are run, whatever the stage; values in ``conf/config.yaml`` under ``run:``."""

    checksum: Literal["xxh3_128", "sha256"]
    max_attempts: Positive
    max_lost: Positive
    backoff_s: Seconds
    lease_s: Seconds
    heartbeat_s: SomeSeconds
    linger_s: Seconds
    shard_timeout_s: SomeSeconds | None
    max_env_failures: Positive
    max_failed_fraction: Annotated[float, msgspec.Meta(ge=0, le=1)]
    scratch: Location | None
    check_space: bool

    def __post_init__(self) -> None:
        _check_local("run.scratch", self.scratch, "give a folder of the nodes")
        if self.lease_s < MIN_BEATS * self.heartbeat_s:
            raise ConfigError(
                f"run.lease_s={self.lease_s:g} is less than {MIN_BEATS} times "
                f"run.heartbeat_s={self.heartbeat_s:g}: workers that are alive would lose their "
                "shards. Give a longer lease_s, or a shorter heartbeat_s too"
            )


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one worker needs; values in ``conf/resources/``."""

    cpus: Positive
    gpus: Count
    mem_gb: Annotated[float, msgspec.Meta(gt=0)] | None
    time_min: Positive


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the cluster wants to hear; values in ``conf/site/``.

    The one record that people write a file for by hand, and so the one with defaults: what the
    file leaves out is left to the cluster.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    python: str | None = None
    setup: list[str] = field(default_factory=list)
    slurm: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SlurmLauncher:
    """Workers as one SLURM array; values in ``conf/launcher/slurm.yaml``."""

    kind: Literal["slurm"]
    array_size: Positive
    max_parallel: Positive | None
    min_shards_per_worker: Positive
    exclude_bad_nodes: Positive | None
    slurm: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LocalLauncher:
    """Workers on this machine; values in ``conf/launcher/local.yaml``."""

    kind: Literal["local"]
    num_workers: Positive


@dataclass(frozen=True, kw_only=True)
class ScriptLauncher:
    """Writes the sbatch file and submits nothing; values in ``conf/launcher/script.yaml``."""

    kind: Literal["script"]
    array_size: Positive
    max_parallel: Positive | None
    min_shards_per_worker: Positive
    exclude_bad_nodes: Positive | None
    path: Location | None


@dataclass(frozen=True, kw_only=True)
class SparkLauncher:
    """Workers as tasks of a Spark cluster; values in ``conf/launcher/spark.yaml``."""

    kind: Literal["spark"]
    num_workers: Positive
    master: str | None


Launcher = SlurmLauncher | LocalLauncher | ScriptLauncher | SparkLauncher
LAUNCHERS: dict[str, type[Launcher]] = {
    "slurm": SlurmLauncher,
    "local": LocalLauncher,
    "script": ScriptLauncher,
    "spark": SparkLauncher,
}


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Folders; values in ``conf/config.yaml`` under ``paths:``."""

    runs: Location
    code: Location

    def __post_init__(self) -> None:
        _check_local("paths.runs", self.runs, f"{_SHARED}: set HPCPIPE_RUNS to a folder there")
        _check_local("paths.code", self.code, "give a folder that all nodes see")


@dataclass(frozen=True, kw_only=True)
class TopLevel:
    """All of ``conf/config.yaml`` but the stage and the launcher, whose classes are chosen."""

    paths: Paths
    run_name: str | None
    run_dir: Location | None
    limit: Positive | None
    extend: bool
    retry_failed: bool
    adopt: bool
    wait: bool
    run: RunOptions
    resources: Resources
    site: Site

    def __post_init__(self) -> None:
        _check_local("run_dir", self.run_dir, f"{_SHARED}: give a folder there")
        if self.extend and self.retry_failed:
            raise ConfigError(
                "extend=true and retry_failed=true: give one of them, and the other later"
            )


def _check_local(key: str, place: str | None, instead: str) -> None:
    scheme, is_url, _ = (place or "").partition("://")
    if is_url:
        raise ConfigError(f"{key} is a URL ({scheme}://...): {instead}")
