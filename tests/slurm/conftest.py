"""Fixtures: the real SLURM clusters, one of each kind a session."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.config import user_name
from tests.slurm.user import User


@contextmanager
def _running(**options) -> Iterator[Cluster]:
    # not pytest's own temporary folder: its path may be too long for a unix socket
    with tempfile.TemporaryDirectory(
        prefix="hpcpipe-slurm-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        cluster = Cluster(Path(folder), **options)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A two-node cluster with accounting."""
    with _running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_no_accounting() -> Iterator[Cluster]:
    """A two-node cluster where sacct is disabled and no array has more than 16 tasks."""
    with _running(accounting=False, max_array_size=16) as cluster:
        yield cluster


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="hpcpipe-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def plain_user(slurm: Cluster, tmp_path: Path) -> Iterator[User]:
    """Somebody on the cluster with accounting, in an empty folder, who leaves nothing queued."""
    yield User(slurm, tmp_path)
    slurm.scancel("--user", user_name())
