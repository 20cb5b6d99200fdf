"""Fixtures every test may use."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.data.make_shards import make_edits, make_shards
from tests.faults.faults import Faults, build
from tests.servers.s3 import S3Server, s3_server
from tests.servers.seaweedfs import seaweedfs_server

FIRST_CLUSTER = ("test_environment", "test_events", "test_run", "test_verbs")


class Scheduler(LoadScopeScheduling):
    """Of several processes two have half of SLURM each, and one Spark; other tests go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        folder, _, name = nodeid.partition("::")[0].rpartition("/")
        if name == "test_spark.py":
            return name
        if folder != "tests/slurm":
            return nodeid
        return f"slurm, {'first' if name.startswith(FIRST_CLUSTER) else 'second'} cluster"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    return Scheduler(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Make what was logged fit to be sent to another process, where it is no UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode(errors="replace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True, scope="session")
def _outside_any_cluster() -> None:
    """Tests see no SLURM but the one they start, also when they run inside a job."""
    for name in [key for key in os.environ if key.startswith(("SLURM_", "SBATCH_", "HYDRA_"))]:
        del os.environ[name]
    # pytest-xdist sets them: what tests start would find modules that users do not have, and
    # take its output for a terminal's
    for name in ("PYTHONPATH", "COLUMNS", "LINES"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def photo_shards(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Three shards of 20 real photos in ``shards`` and edits for 6 of each in ``edits``.

    Shared by all tests: read only.
    """
    folder: Path = tmp_path_factory.mktemp("photos")
    paths = make_shards(folder / "shards", num_shards=3, num_samples=20)
    make_edits(folder / "shards", folder / "edits")
    return SimpleNamespace(shards=folder / "shards", edits=folder / "edits", paths=paths)


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail, compiled."""
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def faults(fault_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Faults:
    """Rules for processes started with ``env=faults.env()``; see ``tests/faults/faults.py``."""
    return Faults(fault_library, tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def module_faults(fault_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Faults:
    """Like `faults`, shared by the tests of a module."""
    return Faults(fault_library, tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3-compatible server on loopback."""
    with s3_server() as server:
        yield server


@pytest.fixture
def s3_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL ``s3://NAME`` of an empty bucket, with the environment set so that clients find it."""
    with _bucket(s3, monkeypatch) as url:
        yield url


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[S3Server]:
    """A real object store on loopback."""
    with seaweedfs_server() as server:
        yield server


@pytest.fixture
def seaweedfs_bucket(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Like `s3_bucket`, on a real object store; slower to start."""
    with _bucket(seaweedfs, monkeypatch) as url:
        yield url


@contextmanager
def _bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import s3fs

    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://test-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(bucket)
    yield bucket
    s3fs.S3FileSystem.clear_instance_cache()
