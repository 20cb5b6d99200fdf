"""What is handed about: shards and their inputs, what became of them, samples to look at."""

from typing import Any, Literal

import msgspec


class Input(msgspec.Struct, frozen=True, array_like=True):
    """One input file as it was when the plan was made.

    Attributes:
        path: absolute path or fsspec URL.
        size_bytes: its size then.
        version: modification time in nanoseconds, or the store's ETag; "" where unknown.
    """

    path: str
    size_bytes: int
    version: str = ""


class Shard(msgspec.Struct, frozen=True, omit_defaults=True):
    """The unit of claim, retry and done: one tar or one range.

    Attributes:
        id: unique in the plan; relative path without suffix for file shards. It becomes part of
            file names: no empty, absolute, ``.`` or ``..`` components, no control characters.
        inputs: the files it reads; a change in size or version after planning is refused.
        num_samples: samples in it, where known.
        num_bytes: bytes it reads, where known; larger shards are started first.
        meta: whatever the stage needs to do it (JSON types only).
    """

    id: str
    inputs: tuple[Input, ...] = ()
    num_samples: int | None = None
    num_bytes: int | None = None
    meta: dict[str, Any] = {}


class Model(msgspec.Struct, frozen=True):
    """A model that workers load, as `Stage.models` names it.

    Attributes:
        name: ``org/name`` on the Hub, or an absolute folder.
        revision: branch, tag or commit on the Hub; None for its main branch.
        library: what loads it, and thus which of its files are needed: a pipeline of ``diffusers``
            (folders named in ``model_index.json``), or one model of ``transformers``.
    """

    name: str
    revision: str | None = None
    library: Literal["diffusers", "transformers"] = "transformers"


class OutputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finished output as the manifest records it.

    Attributes:
        path: relative to the run's output folder, with forward slashes.
        size_bytes: its size.
        checksum: ``algorithm:hexdigest`` of its content (``xxh3_128``, ``sha256``).
        num_samples: samples in it, where the stage said so.
    """

    path: str
    size_bytes: int
    checksum: str
    num_samples: int | None = None


class ShardResult(msgspec.Struct, frozen=True):
    """A finished shard: its outputs and counters.

    Attributes:
        shard_id: id of the shard.
        outputs: the files of the attempt that counts.
        stats: the counters the stage kept with `ShardContext.count`.
    """

    shard_id: str
    outputs: tuple[OutputFile, ...] = ()
    stats: dict[str, int | float] = {}


class Box(msgspec.Struct, frozen=True):
    """A box over a picture, by the picture as it is shown.

    Attributes:
        sides: left, top, right, bottom as parts of its width and height, 0 to 1.
        label: a word or a number beside it.
    """

    sides: tuple[float, float, float, float]
    label: str = ""


class Picture(msgspec.Struct, frozen=True):
    """One picture of a sample.

    Attributes:
        title: what it is, e.g. ``original``.
        content: the image file; None where it cannot be had.
        missing: why not.
        boxes: drawn over it.
    """

    title: str
    content: bytes | None
    missing: str = ""
    boxes: tuple[Box, ...] = ()


class Look(msgspec.Struct, frozen=True):
    """One sample as people look at it.

    Attributes:
        key: its key.
        pictures: side by side.
        texts: such as caption and prompt, side by side; a title and a text each.
        facts: in small print, e.g. the seed; None is left out.
    """

    key: str
    pictures: tuple[Picture, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    facts: dict[str, str | int | float | None] = {}
