"""Whole runs whose inputs and outputs lie in an object store."""

import io
import json
import tarfile

import pytest
import s3fs

from hpcpipe import run
from tests.toys.runs import events_of


@pytest.fixture(params=["s3_bucket", "seaweedfs_bucket"])
def bucket(request):
    return request.getfixturevalue(request.param)


def test_reshard_from_a_bucket_to_a_bucket_equals_the_local_run(
    bucket, photo_shards, tmp_path, monkeypatch
):
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    store = s3fs.S3FileSystem()
    for path in photo_shards.paths:
        store.put_file(str(path), f"{bucket}/in/{path.name}")
    for path in photo_shards.edits.rglob("*.*"):
        store.put_file(str(path), f"{bucket}/edits/{path.relative_to(photo_shards.edits)}")
    options = {"edits": f"{bucket}/edits", "output": f"{bucket}/out"}
    remote = run("reshard", input=f"{bucket}/in/*.tar", **options)
    assert remote.exit_code == 0
    local = run("reshard", input=str(photo_shards.shards), edits=str(photo_shards.edits))
    done = {e.shard: e.outputs[0] for e in events_of(remote.run_dir, "done")}
    for event in events_of(local.run_dir, "done"):
        assert done[event.shard] == event.outputs[0]
        made = store.cat_file(f"{bucket}/out/{event.shard}.tar")
        assert made == (local.run_dir / "out" / f"{event.shard}.tar").read_bytes()
        with tarfile.open(fileobj=io.BytesIO(made)) as tar:
            assert len(tar.getnames()) == 60
    marker = json.loads(store.cat_file(f"{bucket}/out/.hpcpipe/reshard.json"))
    assert marker["run_dir"] == str(remote.run_dir)
    # From another place the same command finds the run by the bucket's marker.
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "elsewhere"))
    again = run("reshard", input=f"{bucket}/in/*.tar", **options)
    assert again.run_dir == remote.run_dir
    assert len(events_of(remote.run_dir, "done")) == 3
