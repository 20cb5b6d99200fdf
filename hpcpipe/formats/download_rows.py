"""What became of one URL, as a row: its columns, their types and order, and its JSON.

The first columns are those of img2dataset and any2dataset, named, typed and ordered as theirs, so
that readers of their tables and JSON read ours; behind them are ours. How rows become a parquet
file is in ``download_table``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from hpcpipe.errors import ConfigError
from hpcpipe.formats.digests import DigestKind

URL = "url"
CAPTION = "caption"
"""What these columns of a list are called here, whatever they were called in it."""

Status = Literal["success", "failed_to_download", "failed_to_resize", "failed_to_subsample"]
OutputFormat = Literal["webdataset", "files", "parquet", "tfrecord", "dummy"]


class DownloadRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one URL.

    Attributes:
        key: the sample's key.
        listed: its row of the list by column: `URL`, `CAPTION` where there are captions, others.
        status: how it ended.
        error_class: the class of what went wrong, one of few words; None or "" for a success.
        error_message: what went wrong, in words that many rows share; None or "" for a success.
        http_status: the last answer's status code; None or 0 where none came.
        num_bytes: bytes of content that were downloaded.
        seconds: how long it took.
        final_url: where redirects led to; a column has it where it is not the list's URL.
        extension: of the file written, without a dot.
        digest: checksum of what was downloaded.
        width: of the image written, in pixels.
        height: of the image written, in pixels.
        original_width: of the image downloaded, in pixels.
        original_height: of the image downloaded, in pixels.
        exif: the image's metadata as text.
    """

    key: str
    listed: Mapping[str, Any]
    status: Status
    error_class: str | None = None
    error_message: str | None = None
    http_status: int | None = None
    num_bytes: int | None = None
    seconds: float | None = None
    final_url: str | None = None
    extension: str | None = None
    digest: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    exif: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class ShardFormat:
    """What the shards of a download are written as.

    Attributes:
        output_format: what the samples are written as.
        images: whether there are columns for the sizes of images.
        exif: whether there is a column for their metadata.
        digest: which checksum there is a column for; None for none.
        extension: the extension of all samples; None where each has its own, in a column.
    """

    output_format: OutputFormat
    images: bool
    exif: bool
    digest: DigestKind | None
    extension: str | None

    @property
    def content_name(self) -> str:
        """Name of the column or feature that holds a sample's bytes. Raises nothing."""
        return self.extension or "content"


class RowColumns:
    """The columns of a shard's rows: those of the list, its caption and URL last, then ours.

    Attributes:
        schema: their names and types in order, a ``pyarrow.Schema``.
        has_caption: whether the list has captions.
    """

    def __init__(self, listed: Any, shard_format: ShardFormat) -> None:
        """Put the columns of a list and those of a download together.

        Args:
            listed: ``pyarrow.Schema`` of the list's rows.
            shard_format: which of our own columns there are.

        Raises:
            ConfigError: the list has a column of a name that is ours.
        """
        import pyarrow as pa

        own = pa.schema(_own_fields(shard_format))
        self._digest = shard_format.digest
        last = (CAPTION, URL)
        kept = [field for field in listed if field.name not in (*last, self._digest)]
        kept += [field for name in last for field in listed if field.name == name]
        check_names([field.name for field in kept], shard_format)
        self.schema = pa.schema([*kept, *own])
        self.has_caption = CAPTION in listed.names
        self._listed = [field.name for field in kept]
        self._own = own.names

    def values(self, row: DownloadRow) -> dict[str, Any]:
        """Give a row's values by column, in order.

        Args:
            row: the row.

        Returns:
            Values that Arrow takes for the types of `schema`.

        Raises:
            KeyError: the row lacks a column of the list.
        """
        values = {name: row.listed[name] for name in self._listed}
        for name in self._own:
            values[name] = getattr(row, "digest" if name == self._digest else name)
        for name in ("error_class", "error_message", "final_url"):
            values[name] = as_unicode(values[name]) if values[name] else None
        if values["final_url"] == row.listed[URL]:
            values["final_url"] = None
        values["http_status"] = row.http_status or None
        if row.exif is not None and "exif" in values:
            values["exif"] = to_json(row.exif).decode()
        return values


def check_names(listed: list[str], shard_format: ShardFormat) -> None:
    """Check that columns of a list can stand beside ours.

    Args:
        listed: their names; the checksum's own may be among them.
        shard_format: which of our own columns there are.

    Returns:
        Nothing.

    Raises:
        ConfigError: a name is there twice, or is ours.
    """
    own = {name for name, _ in _own_fields(shard_format)} | _reserved(shard_format)
    kept = [name for name in listed if name != shard_format.digest]
    twice = {name for name in kept if kept.count(name) > 1}
    if taken := sorted(twice | (own & set(kept))):
        raise ConfigError(
            f"the list's columns {', '.join(map(repr, taken))} cannot be saved under these names: "
            "a column of that name is written already. Leave them out of the columns to save, or "
            "rename them in the list"
        )


def as_unicode(text: str) -> str:
    """Replace what cannot be written as UTF-8 by question marks.

    Args:
        text: words of an error or a server, which may hold surrogates.

    Returns:
        The text without them.

    Raises:
        Nothing.
    """
    return text.encode("utf-8", "replace").decode()


def to_json(values: Any) -> bytes:
    """Encode a row, or a value of one.

    Args:
        values: values by column.

    Returns:
        Compact JSON in UTF-8. Numbers that JSON lacks (NaN, infinities) become null, bytes base64,
        times ISO 8601, and what else it lacks its text.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(values, enc_hook=str)


def _own_fields(shard_format: ShardFormat) -> list[tuple[str, Any]]:
    import pyarrow as pa

    fields = [(name, pa.string()) for name in ("key", "status", "error_message")]
    if shard_format.images:
        sizes = ("width", "height", "original_width", "original_height")
        fields += [(name, pa.int32()) for name in sizes]
    if shard_format.exif:
        fields.append(("exif", pa.string()))
    if shard_format.digest is not None:
        fields.append((shard_format.digest, pa.string()))
    fields += [
        ("error_class", pa.string()),
        ("http_status", pa.int32()),
        ("num_bytes", pa.int64()),
        ("seconds", pa.float64()),
        ("final_url", pa.string()),
    ]
    if shard_format.extension is None:
        fields.append(("extension", pa.string()))
    return fields


def _reserved(shard_format: ShardFormat) -> set[str]:
    """Names of columns and features that hold what is no column of a row."""
    if shard_format.output_format == "parquet":
        return {shard_format.content_name}
    return {shard_format.content_name, "txt"} if shard_format.output_format == "tfrecord" else set()
