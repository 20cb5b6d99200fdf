"""Writes shards of downloads into a folder, for tests."""

import pyarrow as pa

from hpcpipe.formats.download_rows import DownloadRow, ShardFormat
from hpcpipe.formats.download_shard import DownloadShard
from hpcpipe.runtime.staged_file import StagedFile

LISTED = pa.schema([("uid", pa.string()), ("caption", pa.string()), ("url", pa.string())])


class Folder:
    """Opens outputs under their final names; `close` once all is written."""

    def __init__(self, root):
        self.root = root
        self.files = {}

    def __call__(self, name):
        assert name not in self.files
        path = self.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        self.files[name] = StagedFile(name, path, "xxh3_128")
        return self.files[name]

    def close(self):
        for file in self.files.values():
            file.flush()
            file.close(sync=False)


def shard_format(output_format="webdataset", **changes):
    options = {"images": True, "exif": True, "digest": "sha256", "extension": "jpg"}
    return ShardFormat(output_format=output_format, **(options | changes))


def listed(index, caption="a caption"):
    return {"uid": f"u{index}", "caption": caption, "url": f"http://h/{index}.jpg"}


def success(index, caption="a caption", **changes):
    fields = {
        "key": f"00012{index:04d}",
        "listed": listed(index, caption),
        "status": "success",
        "http_status": 200,
        "num_bytes": 1000 + index,
        "seconds": 0.25,
        "digest": f"{index:064x}",
        "width": 256,
        "height": 128,
        "original_width": 1024,
        "original_height": 512,
        "exif": {"Image Make": "Leica"},
    }
    return DownloadRow(**(fields | changes))


def failure(index, **changes):
    fields = {
        "key": f"00012{index:04d}",
        "listed": listed(index),
        "status": "failed_to_download",
        "error_class": "http_404",
        "error_message": "HTTP 404",
        "http_status": 404,
        "seconds": 0.5,
    }
    return DownloadRow(**(fields | changes))


def write_shard(root, samples, columns=LISTED, **options):
    """Write (row, content) pairs as shard 00012; returns the writer and the opened files."""
    folder = Folder(root)
    try:
        with DownloadShard(folder, "00012", columns, shard_format(**options)) as shard:
            for row, content in samples:
                shard.add(row, content)
    finally:
        folder.close()
    return shard, folder.files
