"""128-bit ids of sample keys and uids, and sorting more of them than fit in memory.

A key's id is its xxh3_128 hash. A uid of 32 hexadecimal digits (DataComp's) is its own id; any
other uid is hashed like a key. Ids are structured arrays of two little-endian 64-bit numbers,
ordered by the high one first.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from hpcpipe.formats.npy import HEADER_BYTES, npy_header

Array = npt.NDArray[Any]

ID_DTYPE = np.dtype([("hi", "<u8"), ("lo", "<u8")])
CHUNK_NUM = 1 << 19
"""Ids handled at once: 8 MiB, and a few times that while they are sorted."""


class SortedIds(NamedTuple):
    """What `sort_ids` wrote.

    Attributes:
        num_ids: different ids in the file.
        num_duplicates: ids that were there already and were left out.
    """

    num_ids: int
    num_duplicates: int


def hash_keys(keys: Sequence[str]) -> Array:
    """Hash keys.

    Args:
        keys: any strings; bytes that were no UTF-8 stand in them as surrogate escapes.

    Returns:
        `ID_DTYPE` (N,).

    Raises:
        Nothing.
    """
    digest = xxhash.xxh3_128_digest
    joined = b"".join([digest(key.encode("utf-8", "surrogateescape")) for key in keys])
    return _from_big_endian(joined)


def hash_uids(uids: Sequence[str]) -> Array:
    """Turn uids into ids.

    Args:
        uids: 32 hexadecimal digits each, or any other string, which is hashed.

    Returns:
        `ID_DTYPE` (N,).

    Raises:
        Nothing.
    """
    if all(map((32).__eq__, map(len, uids))):
        joined = "".join(uids)
        if joined.isascii() and joined.isalnum():
            try:
                return _from_big_endian(bytes.fromhex(joined))
            except ValueError:
                pass_through = [_uid_digest(uid) for uid in uids]
                return _from_big_endian(b"".join(pass_through))
    return _from_big_endian(b"".join([_uid_digest(uid) for uid in uids]))


def sort_ids(chunks: Iterable[Array], dest: Path, prefix: str = "") -> SortedIds:
    """Sort ids into one npy file, equal ones once, in bounded memory.

    A sample sort: ids are spilled, a sample of them gives the bounds of buckets that fit in
    memory, each bucket is sorted by itself. Wherever the ids cluster, buckets stay small.

    Args:
        chunks: arrays of `ID_DTYPE`.
        dest: file to write; it appears whole or not at all.
        prefix: put before the dtype's field names, to mark what kind of ids these are.

    Returns:
        How many ids, and how many duplicates.

    Raises:
        OSError: writing failed.
    """
    spill = dest.with_name(f".{dest.name}.spill")
    partial = dest.with_name(f".{dest.name}.partial")
    try:
        with open(spill, "w+b") as raw, open(partial, "w+b") as out:
            num_read = _spill(chunks, raw)
            starts = _partition(raw, out)
            num_ids = _sort_buckets(out, starts)
            _write_header(out, num_ids, prefix)
        os.replace(partial, dest)
    finally:
        spill.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return SortedIds(num_ids, num_read - num_ids)


def _from_big_endian(digests: bytes) -> Array:
    return np.frombuffer(digests, ">u8").astype("<u8").view(ID_DTYPE)


def _uid_digest(uid: str) -> bytes:
    if len(uid) == 32 and uid.isascii() and uid.isalnum():
        try:
            return bytes.fromhex(uid)
        except ValueError:
            return xxhash.xxh3_128_digest(uid.encode())
    return xxhash.xxh3_128_digest(uid.encode("utf-8", "surrogateescape"))


def _sorted_unique(ids: Array) -> Array:
    order = np.argsort(ids["hi"])
    hi = ids["hi"][order]
    if not (hi[1:] == hi[:-1]).any():
        return ids[order]
    order = np.lexsort((ids["lo"], ids["hi"]))
    hi, lo = ids["hi"][order], ids["lo"][order]
    is_new = np.ones(len(ids), bool)
    is_new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    return ids[order[is_new]]


def _spill(chunks: Iterable[Array], raw: BinaryIO) -> int:
    """Write chunks of unique ids in order; returns how many there were before that."""
    num_read = 0
    for ids in _rechunk(chunks):
        num_read += len(ids)
        raw.write(_sorted_unique(ids).tobytes())
    raw.flush()
    return num_read


def _rechunk(chunks: Iterable[Array]) -> Iterator[Array]:
    held: list[Array] = []
    num_held = 0
    for chunk in chunks:
        for at in range(0, len(chunk), CHUNK_NUM):
            held.append(chunk[at : at + CHUNK_NUM])
            num_held += len(held[-1])
            if num_held >= CHUNK_NUM:
                yield np.concatenate(held)
                held, num_held = [], 0
    if held:
        yield np.concatenate(held)


def _read_chunks(raw: BinaryIO) -> Iterator[Array]:
    raw.seek(0)
    while data := raw.read(CHUNK_NUM * ID_DTYPE.itemsize):
        yield np.frombuffer(data, ID_DTYPE)


def _partition(raw: BinaryIO, out: BinaryIO) -> Array:
    """Write the spilled ids bucket by bucket; returns where each bucket starts, and the end."""
    total = raw.seek(0, os.SEEK_END) // ID_DTYPE.itemsize
    stride = max(1, total >> 18)
    parts = [chunk[::stride].copy() for chunk in _read_chunks(raw)] or [np.empty(0, ID_DTYPE)]
    sample = _sorted_unique(np.concatenate(parts))
    num_buckets = min(total // CHUNK_NUM + 1, len(sample) or 1)
    bounds = sample[(np.arange(1, num_buckets) * len(sample)) // num_buckets]
    counts = np.zeros(num_buckets, np.int64)
    for chunk in _read_chunks(raw):
        counts += np.diff(_cuts(_sorted_unique(chunk), bounds))
    starts = np.concatenate(([0], np.cumsum(counts)))
    cursors = starts[:-1].copy()
    for chunk in _read_chunks(raw):
        ids = _sorted_unique(chunk)
        cuts = _cuts(ids, bounds)
        for bucket in np.flatnonzero(np.diff(cuts)):
            part = ids[cuts[bucket] : cuts[bucket + 1]]
            _pwrite(out, part, int(cursors[bucket]))
            cursors[bucket] += len(part)
    return starts


def _cuts(ids: Array, bounds: Array) -> Array:
    return np.concatenate(([0], np.searchsorted(ids, bounds), [len(ids)]))


def _sort_buckets(out: BinaryIO, starts: Array) -> int:
    """Sort each bucket in place, closing the gaps that duplicates leave; returns the number."""
    num_ids = 0
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        size = (end - start) * ID_DTYPE.itemsize
        data = os.pread(out.fileno(), size, HEADER_BYTES + start * ID_DTYPE.itemsize)
        ids = _sorted_unique(np.frombuffer(data, ID_DTYPE))
        _pwrite(out, ids, num_ids)
        num_ids += len(ids)
    return num_ids


def _pwrite(out: BinaryIO, ids: Array, at: int) -> None:
    data = memoryview(ids.tobytes())
    offset = HEADER_BYTES + at * ID_DTYPE.itemsize
    while data:
        done = os.pwrite(out.fileno(), data, offset)
        data, offset = data[done:], offset + done


def _write_header(out: BinaryIO, num_ids: int, prefix: str) -> None:
    dtype = np.dtype([(prefix + name, "<u8") for name in ("hi", "lo")])
    out.truncate(HEADER_BYTES + num_ids * ID_DTYPE.itemsize)
    out.seek(0)
    out.write(npy_header(dtype, num_ids))
    out.flush()
    os.fsync(out.fileno())
