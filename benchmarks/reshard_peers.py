"""Other ways to do what the overlay does, written as one would write them by hand.

Each takes the same job (tars, folder or tars of edits, keys to keep) and leaves the same members
with the same contents. All sync what they write.
"""

import io
import os
import tarfile
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    tars: list[Path]
    edits: Path
    edits_kind: str
    keep: Path
    out: Path

    def kept(self) -> set[str]:
        return set(self.keep.read_text().split())

    def edits_of(self, tar: Path) -> dict[str, dict[str, bytes]]:
        """Edits of a tar's samples by key and extension; contents are read when they are used."""
        found: dict[str, dict] = {}
        if self.edits_kind == "loose":
            for entry in os.scandir(self.edits / tar.stem):
                key, _, extension = entry.name.partition(".")
                found.setdefault(key, {})[extension] = entry.path
        else:
            with tarfile.open(self.edits / tar.name) as file:
                for member in file:
                    key, _, extension = member.name.partition(".")
                    found.setdefault(key, {})[extension] = (member.offset_data, member.size)
        return found


class Reader:
    """Reads edits, loose or from a tar."""

    def __init__(self, job: Job, tar: Path) -> None:
        self.fd = os.open(job.edits / tar.name, os.O_RDONLY) if job.edits_kind == "tar" else -1

    def __call__(self, place) -> bytes:
        if self.fd >= 0:
            return os.pread(self.fd, place[1], place[0])
        with open(place, "rb") as file:
            return file.read()


def sync(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def prepare_webdataset() -> None:
    import webdataset.tariterators
    import webdataset.writer  # noqa: F401


def run_webdataset(job: Job) -> None:
    from webdataset.tariterators import group_by_keys, tar_file_expander
    from webdataset.writer import TarWriter

    kept = job.kept()
    for tar in job.tars:
        edits, read = job.edits_of(tar), Reader(job, tar)
        with open(tar, "rb") as stream, open(job.out / tar.name, "wb") as out:
            with TarWriter(out, encoder=False) as writer:
                for sample in group_by_keys(tar_file_expander([{"url": "", "stream": stream}])):
                    key = sample["__key__"]
                    if key in kept:
                        for extension, place in edits.get(key, {}).items():
                            sample[extension] = read(place)
                        del sample["__url__"]
                        writer.write(sample)
            sync(out)


def run_tarfile(job: Job) -> None:
    kept = job.kept()
    for tar in job.tars:
        edits, read = job.edits_of(tar), Reader(job, tar)
        with tarfile.open(tar) as source, open(job.out / tar.name, "wb") as out:
            with tarfile.open(fileobj=out, mode="w") as target:
                for member in source:
                    key, _, extension = member.name.partition(".")
                    if key in kept:
                        place = edits.get(key, {}).get(extension)
                        if place is None:
                            content = source.extractfile(member).read()
                        else:
                            content = read(place)
                        member.size = len(content)
                        target.addfile(member, io.BytesIO(content))
            sync(out)


def headers(fd: int):
    """Start, data offset, size, end and name of each file of a tar, by reading its headers only."""
    offset = start = 0
    size_bytes = os.fstat(fd).st_size
    while offset < size_bytes:
        header = os.pread(fd, 512, offset)
        if not header.strip(b"\0"):
            return
        size = int(header[124:135], 8)
        data = offset + 512
        end = data + (size + 511) // 512 * 512
        if header[156:157] in b"0\0":
            yield start, data, size, end, header[:100].rstrip(b"\0").decode()
            start = end
        offset = end


def copy(out, fd: int, start: int, end: int) -> None:
    out.flush()
    while start < end:
        start += os.sendfile(out.fileno(), fd, start, end - start)


def run_splice(job: Job) -> None:
    """The bare minimum: byte ranges copied by the kernel; no checks, no checksum, no record."""
    kept = job.kept()
    for tar in job.tars:
        edits, read = job.edits_of(tar), Reader(job, tar)
        fd = os.open(tar, os.O_RDONLY)
        with open(job.out / tar.name, "wb") as out:
            run_start = run_end = 0
            for start, _, _, end, name in headers(fd):
                key, _, extension = name.partition(".")
                place = edits.get(key, {}).get(extension) if key in kept else None
                if key in kept and place is None:
                    if start != run_end:
                        copy(out, fd, run_start, run_end)
                        run_start = start
                    run_end = end
                elif place is not None:
                    copy(out, fd, run_start, run_end)
                    run_start = run_end = 0
                    content = read(place)
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    out.write(info.tobuf(tarfile.USTAR_FORMAT))
                    out.write(content)
                    out.write(bytes(-len(content) % 512))
            copy(out, fd, run_start, run_end)
            out.write(bytes(1024))
            sync(out)
        os.close(fd)


def run_cp(job: Job) -> None:
    """Not the same job: only the bytes of the finished output, copied."""
    for path in sorted((job.out.parent / "expected").iterdir()):
        fd = os.open(path, os.O_RDONLY)
        with open(job.out / path.name, "wb") as out:
            copy(out, fd, 0, os.fstat(fd).st_size)
            sync(out)
        os.close(fd)
