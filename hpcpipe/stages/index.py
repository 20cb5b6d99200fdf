"""The stage ``index``: where every sample of every tar lies, for repacking across tars.

Each shard writes ``tars/ID.parquet`` for one tar; at the end they are merged into the arrays that
``formats.sample_index`` describes. Contents are not read, except for the json where uids are asked
for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.formats.ids import ID_DTYPE, Array, sort_ids
from hpcpipe.formats.npy import npy_header
from hpcpipe.formats.sample_index import (
    FORMAT_VERSION,
    MAX_CONTENTS,
    SAMPLE_DTYPE,
    Contents,
    IndexInfo,
    Tar,
)
from hpcpipe.formats.sample_table import TableWriter, read_table
from hpcpipe.formats.samples import Sample, group, read_json
from hpcpipe.formats.source import TAR_SUFFIXES, Source, open_source
from hpcpipe.formats.tar import scan
from hpcpipe.stage import FinalizeContext, PlanContext, Shard, ShardContext, Stage
from hpcpipe.stages._file_shards import file_shards


@dataclass(frozen=True, kw_only=True)
class Index(Stage):
    """Offsets and sizes of every sample of every tar.

    Attributes:
        uid: also read every sample's json and note its field ``uid``, to filter by it later.
        duplicates: what to do about a key that comes twice in one tar: ``error``, ``first``
            (leave later ones out) or ``keep`` (index all; repacking then decides).
    """

    uid: bool
    duplicates: Literal["error", "first", "keep"]

    def __post_init__(self) -> None:
        """Check the options. Raises ConfigError."""
        if self.duplicates not in ("error", "first", "keep"):
            raise ConfigError(
                f"stage.duplicates={self.duplicates}: must be one of error, first, keep"
            )

    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """One shard for each tar. Raises PlanError."""
        inputs = ctx.list_inputs(self.input, TAR_SUFFIXES)
        return file_shards(inputs, self.input, TAR_SUFFIXES)

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """The tar's own table. Raises nothing."""
        return (f"tars/{shard.id}.parquet",)

    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Write the table of one tar.

        Raises:
            BadInputError: the tar is corrupt, or has equal keys where they are not allowed.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: reading or writing failed.
        """
        output = ctx.output(f"tars/{shard.id}.parquet")
        output.num_samples = 0
        with (
            open_source(shard.inputs[0].path, ctx.scratch) as source,
            TableWriter(output, uid=self.uid) as table,
        ):
            policy: Literal["error", "first", "rename"] = (
                "rename" if self.duplicates == "keep" else self.duplicates
            )
            for sample in group(scan(source), source.path, policy):
                if sample.key is None:
                    continue
                if sample.repeats:
                    ctx.count("samples_dropped")
                    continue
                uid = read_uid(source, sample) if self.uid else None
                if self.uid and uid is None:
                    ctx.count("samples_without_uid")
                table.add(sample, uid)
                output.num_samples += 1
                if output.num_samples % 1000 == 0:
                    ctx.progress(output.num_samples)
            ctx.count_read(source.num_read)
        ctx.progress(output.num_samples)
        ctx.count("samples_indexed", output.num_samples)

    def finalize(self, ctx: FinalizeContext) -> None:
        """Merge the tables. Raises BadInputError, OSError."""
        _Merge(ctx, self.uid).write()


class _UidRecord(msgspec.Struct):
    uid: str | int | None = None


def read_uid(source: Source, sample: Sample) -> str | None:
    """Read the uid of a sample.

    Args:
        source: its tar.
        sample: the sample.

    Returns:
        The field ``uid`` of its json; None where there is none.

    Raises:
        BadInputError: its json is too large.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    for member, extension in zip(sample.members, sample.extensions, strict=True):
        if extension == "json":
            try:
                data = read_json(source, member)
                uid = msgspec.json.decode(data, type=_UidRecord).uid
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return None
            return None if uid is None else str(uid)
    return None


class _Merge:
    """All tables into one set of arrays, in the order of the plan, in bounded memory."""

    def __init__(self, ctx: FinalizeContext, uid: bool) -> None:
        self._ctx = ctx
        self._uid = uid
        self._contents: dict[tuple[str, bool, bool], int] = {}
        self._tars: list[Tar] = []
        self._tables: list[str] = []
        self._missing: list[str] = []
        self._num_bytes = 0

    def write(self) -> None:
        """Write arrays, then description. Raises BadInputError, OSError."""
        self._list_tars()
        num_samples = sum(tar.num_samples for tar in self._tars)
        scratch = self._ctx.scratch / "keys.npy"
        num_duplicates = sort_ids(self._chunks(num_samples), scratch).num_duplicates
        scratch.unlink()
        info = IndexInfo(
            format_version=FORMAT_VERSION,
            num_samples=num_samples,
            num_bytes=self._num_bytes,
            num_duplicate_keys=num_duplicates,
            has_uids=self._uid,
            missing=tuple(self._missing),
            tars=tuple(self._tars),
            contents=tuple(Contents(tuple(e.split("/")), *flags) for e, *flags in self._contents),
        )
        self._ctx.output("index.json").write(msgspec.json.encode(info))

    def _list_tars(self) -> None:
        for shard in self._ctx.shards():
            result = self._ctx.result(shard.id)
            if result is None:
                self._missing.append(shard.inputs[0].path)
                continue
            (table,) = result.outputs
            self._tables.append(self._ctx.open_path(table))
            self._ctx.count_read(table.size_bytes)
            self._tars.append(Tar(shard.id, shard.inputs[0], table.num_samples or 0))

    def _chunks(self, num_samples: int) -> Iterator[Array]:
        """Write the arrays; yields the key ids as they pass."""
        samples, keys = self._ctx.output("samples.npy"), self._ctx.output("keys.npy")
        samples.write(npy_header(SAMPLE_DTYPE, num_samples))
        keys.write(npy_header(ID_DTYPE, num_samples))
        uids = self._ctx.output("uids.npy") if self._uid else None
        if uids is not None:
            uids.write(npy_header(ID_DTYPE, num_samples))
        for number, path in enumerate(self._tables):
            for columns in read_table(path):
                samples.write(self._rows(columns, number).tobytes())
                ids = _ids(columns, "key")
                keys.write(ids.tobytes())
                if uids is not None:
                    uids.write(_ids(columns, "uid").tobytes())
                yield ids
            self._ctx.progress(number)

    def _rows(self, columns: dict[str, Array], tar: int) -> Array:
        rows = np.empty(len(columns["offset"]), SAMPLE_DTYPE)
        rows["offset"] = columns["offset"]
        rows["length"] = columns["length"]
        rows["tar"] = tar
        known = self._contents
        fields = (columns[name].tolist() for name in ("names", "plains", "lacks_uid"))
        made = zip(*fields, strict=True)
        numbers = np.array([known.setdefault(one, len(known)) for one in made], np.uint32)
        rows["contents"] = numbers[columns["contents"]]
        if len(known) > MAX_CONTENTS:
            raise BadInputError(
                f"more than {MAX_CONTENTS} different sets of extensions, {columns['names'][-1]!r} "
                "for one: do file names have dots inside the key?"
            )
        self._num_bytes += int(rows["length"].sum())
        return rows


def _ids(columns: dict[str, Array], name: str) -> Array:
    ids = np.empty(len(columns["offset"]), ID_DTYPE)
    ids["hi"], ids["lo"] = columns[f"{name}_hi"], columns[f"{name}_lo"]
    return ids
