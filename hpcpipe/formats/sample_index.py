"""The index of many tars: where every sample lies, what it is called, what it holds.

A folder with ``index.json`` (`IndexInfo`), ``samples.npy`` (`SAMPLE_DTYPE`, one row a sample, in
the order of the tars), ``keys.npy`` and, where uids were read, ``uids.npy`` (`ids.ID_DTYPE`, the
same rows). The arrays are mapped, never loaded. Written by the stage ``index``.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash

from hpcpipe.errors import ConfigError, PlanError, UpstreamIncompleteError
from hpcpipe.formats.ids import ID_DTYPE, Array
from hpcpipe.formats.listing import list_location
from hpcpipe.formats.remote import display, is_remote
from hpcpipe.stage import Input

FORMAT_VERSION = 1
MAX_CONTENTS = 1 << 20

SAMPLE_DTYPE = np.dtype([("offset", "<u8"), ("length", "<u8"), ("tar", "<u4"), ("contents", "<u4")])
"""Byte range in the (decompressed) tar, its number, and the number of its `Contents`."""


class Tar(msgspec.Struct, frozen=True, array_like=True):
    """One indexed tar.

    Attributes:
        id: its shard id in the index run.
        input: the file as it was when it was indexed.
        num_samples: samples in it.
    """

    id: str
    input: Input
    num_samples: int


class Contents(msgspec.Struct, frozen=True, array_like=True):
    """What samples are made of.

    Attributes:
        extensions: lower case, in the order of the members.
        is_plain: False where the byte range also holds entries of no sample (folders, links).
        lacks_uid: True where uids were read and these samples have none.
    """

    extensions: tuple[str, ...]
    is_plain: bool
    lacks_uid: bool = False


class IndexInfo(msgspec.Struct, frozen=True):
    """The content of ``index.json``.

    Attributes:
        format_version: of the folder.
        num_samples: rows of the arrays.
        num_bytes: sum of the samples' lengths.
        num_duplicate_keys: samples whose key another sample before them has.
        has_uids: whether there is a ``uids.npy``.
        missing: tars that could not be indexed, where the run allows that.
        tars: the tars, in the order of the rows.
        contents: the different makes of sample.
    """

    format_version: int
    num_samples: int
    num_bytes: int
    num_duplicate_keys: int
    has_uids: bool
    missing: tuple[str, ...]
    tars: tuple[Tar, ...]
    contents: tuple[Contents, ...]


class SampleIndex(NamedTuple):
    """An opened index.

    Attributes:
        folder: where it lies.
        checksum: of ``index.json``; another one means another index.
        info: its description.
        samples: `SAMPLE_DTYPE` (N,), mapped.
        keys: `ids.ID_DTYPE` (N,), mapped: hashes of the keys.
        uids: `ids.ID_DTYPE` (N,), mapped, of samples that do not lack one; None without.
    """

    folder: Path
    checksum: str
    info: IndexInfo
    samples: Array
    keys: Array
    uids: Array | None


def open_index(folder: str) -> SampleIndex:
    """Open an index.

    Args:
        folder: output folder of a run of the stage ``index``.

    Returns:
        The index, its arrays mapped.

    Raises:
        ConfigError: the folder is a URL, or has no index.
        UpstreamIncompleteError: the run that makes it is not complete.
        PlanError: it is of another format version, or damaged.
        OSError: it cannot be read.
    """
    if is_remote(folder):
        raise ConfigError(
            f"stage.index={display(folder)}: an index is mapped, and must lie on a filesystem "
            "that the workers share"
        )
    path = Path(folder)
    try:
        data = (path / "index.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if (path / "tars").is_dir():
            raise UpstreamIncompleteError(
                f"stage.index={folder}: its run is not complete yet; see python -m hpcpipe status, "
                "mend what failed, and launch it again"
            ) from error
        raise ConfigError(
            f"stage.index={folder} has no index.json; make one with: python -m hpcpipe "
            "stage=index stage.input=... and name its output folder"
        ) from error
    info = _decode(path, data)
    arrays = [_map(path / f"{name}.npy", dtype, info) for name, dtype in _arrays(info)]
    checksum = xxhash.xxh3_128_hexdigest(data)
    uids = arrays[2] if info.has_uids else None
    return SampleIndex(path, checksum, info, arrays[0], arrays[1], uids)


def check_tars(index: SampleIndex) -> None:
    """Make sure that the indexed tars are still as they were indexed.

    Args:
        index: an opened index.

    Raises:
        PlanError: a tar is missing, or its size or version changed.
    """
    now = {item.path: item for item in list_location([tar.input.path for tar in index.info.tars])}
    changed = [tar.input for tar in index.info.tars if now.get(tar.input.path) != tar.input]
    if changed:
        was = changed[0]
        found = now.get(was.path)
        detail = f"{was.size_bytes} bytes then, {found.size_bytes if found else 'no'} bytes now"
        raise PlanError(
            f"{len(changed)} of {len(index.info.tars)} tars changed since {index.folder} was "
            f"made, {display(was.path)} for one ({detail}); make the index again"
        )


def _arrays(info: IndexInfo) -> list[tuple[str, np.dtype[Any]]]:
    arrays = [("samples", SAMPLE_DTYPE), ("keys", ID_DTYPE)]
    return [*arrays, ("uids", ID_DTYPE)] if info.has_uids else arrays


def _decode(path: Path, data: bytes) -> IndexInfo:
    version = None
    try:
        version = msgspec.json.decode(data).get("format_version")
        if version == FORMAT_VERSION:
            return msgspec.json.decode(data, type=IndexInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError) as error:
        raise PlanError(f"{path}/index.json is damaged ({error}); make the index again") from error
    raise PlanError(
        f"{path}/index.json has format version {version}, this hpcpipe reads {FORMAT_VERSION}; "
        "make the index again"
    )


def _map(path: Path, dtype: np.dtype[Any], info: IndexInfo) -> Array:
    try:
        rows: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError) as error:
        raise PlanError(f"{path} is damaged ({error}); make the index again") from error
    if rows.dtype != dtype or rows.shape != (info.num_samples,):
        raise PlanError(
            f"{path} has {rows.shape} rows and index.json speaks of {info.num_samples}; make the "
            "index again"
        )
    return rows
