"""Object stores that cannot be reached for a while: nothing is charged to a shard."""

import pytest
import s3fs

from hpcpipe import run
from hpcpipe.errors import OutageError
from hpcpipe.stages.reshard import Reshard
from tests.servers.gate import gate
from tests.servers.s3 import s3_server
from tests.toys.runs import events_of, run_here, toy_config, write_inputs

OVERRIDES = ("run.backoff_s=0.1", "run.max_env_failures=2")


@pytest.fixture(scope="module")
def server():
    with s3_server() as server, gate(server.url) as way:
        yield server, way


@pytest.fixture
def way(server, monkeypatch):
    """The way to a store, as clients find it; they try once."""
    s3, way = server
    for name, value in (s3.env | {"AWS_ENDPOINT_URL": way.url, "AWS_MAX_ATTEMPTS": "1"}).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield way
    way.open()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(way, request):
    name = f"s3://outage-{abs(hash(request.node.name))}"
    s3fs.S3FileSystem().mkdir(name)
    return name


@pytest.fixture
def lose_store(way, monkeypatch):
    """Shuts the store off at the second shard."""

    def lose(when, status):
        process, shards = Reshard.process, []

        def losing(self, shard, ctx, state):
            shards.append(shard)
            if when == "reading" and len(shards) > 1:
                way.shut(status)
            process(self, shard, ctx, state)
            if when == "writing" and len(shards) > 1:
                way.shut(status)

        monkeypatch.setattr(Reshard, "process", losing)
        return lambda: monkeypatch.setattr(Reshard, "process", process)

    return lose


@pytest.mark.parametrize(
    ("when", "status"),
    [
        ("reading", ""),
        ("reading", "403 Forbidden"),
        ("writing", ""),
        ("writing", "403 Forbidden"),
        ("writing", "503 Service Unavailable"),
    ],
)
def test_a_store_that_is_lost_stops_the_worker_and_is_charged_to_nobody(
    way, bucket, lose_store, photo_shards, tmp_path, monkeypatch, capsys, when, status
):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    for path in photo_shards.paths:
        s3fs.S3FileSystem().put_file(str(path), f"{bucket}/in/{path.name}")
    options = {"input": f"{bucket}/in/*.tar", "output": f"{bucket}/out", "overrides": OVERRIDES}
    keep_store = lose_store(when, status)
    stopped = run("reshard", **options)
    assert stopped.exit_code == 4
    assert "stopped: 2 times in a row: OutageError: s3://outage-" in capsys.readouterr().err
    assert len(events_of(stopped.run_dir, "done")) == 1
    assert events_of(stopped.run_dir, "failed") == []
    keep_store()
    way.open()
    assert run("reshard", **options).exit_code == 0
    assert len(events_of(stopped.run_dir, "done")) == 3


def test_an_object_that_alone_is_gone_is_at_fault(bucket, photo_shards, tmp_path, monkeypatch):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    store = s3fs.S3FileSystem()
    for path in photo_shards.paths:
        store.put_file(str(path), f"{bucket}/in/{path.name}")
    options = {"input": f"{bucket}/in/*.tar", "overrides": OVERRIDES}
    begun = run("reshard", limit=1, **options)
    (done,) = events_of(begun.run_dir, "done")
    gone = next(path for path in photo_shards.paths if path.stem != done.shard)
    store.rm_file(f"{bucket}/in/{gone.name}")
    assert run("reshard", **options).exit_code == 3
    (failed,) = events_of(begun.run_dir, "failed")
    assert (failed.shard, failed.error_class) == (gone.stem, "BadInputError")


def test_a_launch_whose_output_cannot_be_reached_says_so(way, bucket, tmp_path):
    write_inputs(tmp_path, a="x")
    way.shut()
    with pytest.raises(OutageError, match=r"s3://outage-.* cannot be reached: Endpoint"):
        run_here(toy_config(tmp_path, stage__output=f"{bucket}/out"))
