"""Read resharded shards with `webdataset` and compare every sample with what it should be."""

import sys
from collections.abc import Iterator
from pathlib import Path

from webdataset.tariterators import tarfile_samples

Sample = dict[str, bytes]


def read(folder: Path) -> Iterator[tuple[str, str, Sample]]:
    """Read all shards of a folder.

    Args:
        folder: holds ``*.tar``.

    Yields:
        Shard name, key and members by extension, in order.

    Raises:
        OSError: a shard cannot be read.
    """
    for path in sorted(folder.glob("*.tar")):
        for sample in tarfile_samples([{"url": str(path)}]):
            members = {name: data for name, data in sample.items() if not name.startswith("__")}
            yield path.stem, sample["__key__"], members


def main(folder: Path) -> int:
    """Compare ``out/`` with ``shards/`` and ``edits/``.

    Args:
        folder: the folder the demo works in.

    Returns:
        Exit code: 0 where every sample is right, 1 otherwise.

    Raises:
        OSError: a file cannot be read.
    """
    num_samples = num_edited = num_wrong = 0
    pairs = zip(read(folder / "shards"), read(folder / "out"), strict=True)
    for (shard, key, original), result in pairs:
        edits = (folder / "edits" / shard).glob(f"{key}.*")
        edit = {path.name.partition(".")[2]: path.read_bytes() for path in edits}
        num_samples += 1
        num_edited += bool(edit)
        num_wrong += result != (shard, key, original | edit)
    print(
        f"read back with webdataset: {num_samples} samples in {folder}/out; "
        f"{num_edited} are the edits, {num_samples - num_edited} are as they were, "
        f"{num_wrong} are wrong"
    )
    return 1 if num_wrong or not num_edited else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
