"""Reshard from a bucket to a bucket, on a real object store, as a user would."""

import os
import subprocess
import sys

import fsspec

from tests.data.make_shards import read_shard


def test_reshard_between_buckets(photo_shards, seaweedfs_bucket, tmp_path):
    fs, _ = fsspec.url_to_fs(seaweedfs_bucket)
    for path in photo_shards.paths:
        fs.put_file(str(path), f"{seaweedfs_bucket}/in/{path.name}")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hpcpipe", "stage=reshard"),
            f"stage.input={seaweedfs_bucket}/in/*.tar",
            f"stage.output={seaweedfs_bucket}/out",
            f"stage.edits={photo_shards.edits}",
        ],
        cwd=tmp_path,
        env=os.environ | {"HPCPIPE_RUNS": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for path in photo_shards.paths:
        fs.get_file(f"{seaweedfs_bucket}/out/{path.name}", str(tmp_path / path.name))
        expected = read_shard(path)
        for edit in (photo_shards.edits / path.stem).iterdir():
            expected[edit.stem][edit.suffix[1:]] = edit.read_bytes()
        assert read_shard(tmp_path / path.name) == expected
