"""One shard of ``filter_faces``: its samples read, judged and written, in order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING

from hpcpipe.errors import BadInputError
from hpcpipe.formats.captions import encode_captions
from hpcpipe.formats.remote import display
from hpcpipe.formats.samples import group
from hpcpipe.formats.selected import Face, Selected, encode_selected
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import scan
from hpcpipe.stage import Shard, ShardContext, ShardStopped
from hpcpipe.stages._file_shards import open_tar
from hpcpipe.stages._filter_faces_metadata import BAD_BOXES, FIELD, NO_BOXES, named_faces
from hpcpipe.stages._filter_faces_sample import (
    FAILED,
    LEFT_OUT,
    Candidate,
    LeftOut,
    read_candidate,
)
from hpcpipe.stages._filter_faces_tools import Found, Tools

if TYPE_CHECKING:
    from hpcpipe.stages.filter_faces import FilterFaces

_BATCH_SAMPLES = 256


def filter_shard(stage: FilterFaces, shard: Shard, ctx: ShardContext, tools: Tools | None) -> None:
    """Filter one tar.

    Args:
        stage: the options.
        shard: its one input is the tar.
        ctx: the framework's help.
        tools: the worker's; None to go by metadata.

    Raises:
        BadInputError: the tar is corrupt, or no sample says anything of faces.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        SetupError: memory does not hold a single image.
        ShardStopped: the worker was told to stop.
        OSError: reading or writing failed.
    """
    with open_tar(shard, ctx) as source:
        samples = _read(source, stage)
        if tools is None:
            batches = _named(samples)
        else:
            tools.batches.on_smaller = lambda line: ctx.remark(f"warning: {line}")
            batches = tools.find(_with_images(source, samples))
        files = FilesOfShard(ctx, shard.id, shard.inputs[0].path, stage.min_face_area)
        for batch in batches:
            for sample, faces in batch:
                files.add(sample, faces)
            ctx.progress(files.counts["selected"])
            if ctx.should_stop:
                raise ShardStopped
        files.finish()
        ctx.count_read(source.num_read)
    for name, number in files.counts.items():
        ctx.count(name, number)


def _read(source: Source, stage: FilterFaces) -> Iterator[Candidate | LeftOut]:
    members = scan(source, prefetch=stage.detector != "metadata")
    for sample in group(members, source.path, stage.duplicates):
        if sample.key is not None:
            yield read_candidate(source, sample, sample.key)


def _named(samples: Iterator[Candidate | LeftOut]) -> Iterator[list[Found]]:
    while batch := [_by_metadata(sample) for sample in islice(samples, _BATCH_SAMPLES)]:
        yield batch


def _by_metadata(sample: Candidate | LeftOut) -> Found:
    if isinstance(sample, LeftOut):
        return sample, ()
    faces = named_faces(sample)
    return (faces, ()) if isinstance(faces, LeftOut) else (sample, faces)


def _with_images(
    source: Source, samples: Iterable[Candidate | LeftOut]
) -> Iterator[tuple[Candidate | LeftOut, bytes]]:
    for sample in samples:
        if isinstance(sample, LeftOut):
            yield sample, b""
        elif not sample.image:
            yield LeftOut(sample.key, FAILED, "no_image"), b""
        else:
            yield sample, source.read_at(sample.offset_bytes, sample.size_bytes)


class FilesOfShard:
    """The three files of a shard, and its counters.

    Attributes:
        counts: the counters.
    """

    def __init__(self, ctx: ShardContext, shard_id: str, tar: str, min_face_area: float) -> None:
        """Open the files.

        Args:
            ctx: the framework's help.
            shard_id: the shard.
            tar: path or URL of its tar.
            min_face_area: part of the image's area from which a face counts.

        Raises:
            OSError: one cannot be created.
        """
        captions, selected, left_out = (ctx.output(name) for name in self.names(shard_id))
        self._captions_file, self._selected, self._left_out = captions, selected, left_out
        self._captions: dict[str, str] = {}
        self._tar = tar
        self._min_face_area = min_face_area
        self._knows_faces = False
        self.counts = Counter(dict.fromkeys(("samples", "selected", "faces"), 0))

    @staticmethod
    def names(shard_id: str) -> tuple[str, str, str]:
        """Name the files of a shard: captions, selected samples, those left out. Raises nothing."""
        return (
            f"captions/{shard_id}.json",
            f"selected/{shard_id}.jsonl",
            f"left_out/{shard_id}.jsonl",
        )

    def add(self, sample: Candidate | LeftOut, faces: tuple[Face, ...]) -> None:
        """Write a sample where it belongs.

        Args:
            sample: the sample.
            faces: all its faces, small ones too.

        Raises:
            OSError: writing failed.
        """
        self.counts["samples"] += 1
        self._knows_faces |= isinstance(sample, Candidate) or sample.reason == BAD_BOXES
        if isinstance(sample, Candidate):
            large = tuple(face for face in faces if _area(face) >= self._min_face_area)
            if large:
                self._select(sample, large)
                return
            why = "small_faces" if faces else "no_face"
            place = (sample.offset_bytes, sample.size_bytes)
            sample = LeftOut(sample.key, LEFT_OUT, why, None, faces, *place)
        self.counts[f"{sample.status}.{sample.reason}"] += 1
        self._left_out.write(json.dumps(asdict(sample)).encode() + b"\n")

    def _select(self, sample: Candidate, faces: tuple[Face, ...]) -> None:
        self.counts["selected"] += 1
        self.counts["faces"] += len(faces)
        self._captions[sample.key] = sample.caption
        line = Selected(
            key=sample.key,
            caption=sample.caption,
            json=sample.json or {},
            faces=faces,
            tar=self._tar,
            image=sample.image,
            offset_bytes=sample.offset_bytes,
            size_bytes=sample.size_bytes,
        )
        self._selected.write(encode_selected(line))

    def finish(self) -> None:
        """Write what stands in one piece, and check that something is known of faces at all.

        Raises:
            BadInputError: no sample says anything of faces.
            OSError: writing failed.
        """
        if self.counts[f"{FAILED}.{NO_BOXES}"] and not self._knows_faces:
            raise BadInputError(
                f"{display(self._tar)}: no json of its {self.counts['samples']} samples has "
                f"{FIELD}; to find faces in the images, use stage.detector=centerface"
            )
        self._captions_file.write(encode_captions(self._captions))
        self._captions_file.num_samples = self.counts["selected"]


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)
