"""What stages share that show samples: which ones, at random; originals with their faces."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

from hpcpipe.errors import HpcPipeError
from hpcpipe.formats.selected import Selected
from hpcpipe.formats.source import GZIP_SUFFIXES, open_source
from hpcpipe.stage import Box, Picture

ORIGINAL = "original"
_LEFT_OUT_SHARE = 4


def num_left_out(random: Random, num_samples: int, num_made: int) -> int:
    """Say how many of the samples that are shown may be such as were left out: about a quarter.

    Args:
        random: rounds, so that there are some on a sheet of few samples each of many shards.
        num_samples: how many are shown.
        num_made: samples there are that were not left out.

    Returns:
        The number; more than a quarter where there are too few others.

    Raises:
        Nothing.
    """
    return max(int(num_samples / _LEFT_OUT_SHARE + random.random()), num_samples - num_made)


def some_lines(content: bytes, random: Random, num_lines: int) -> bytes:
    """Choose lines.

    Args:
        content: lines.
        random: chooses.
        num_lines: how many, at most.

    Returns:
        The chosen ones, in order.

    Raises:
        Nothing.
    """
    lines = content.splitlines(keepends=True)
    chosen = random.sample(range(len(lines)), min(num_lines, len(lines)))
    return b"".join([lines[number] for number in sorted(chosen)])


def originals(samples: Iterable[Selected], scratch: Path) -> dict[str, Picture]:
    """Read the images of samples of one tar out of it.

    Args:
        samples: the samples.
        scratch: folder for the tar where that is compressed.

    Returns:
        A picture by key, with the sample's faces; one that cannot be had says why.

    Raises:
        Nothing.
    """
    found: dict[str, Picture] = {}
    for tar, some in _by_tar(samples).items():
        try:
            with open_source(tar, scratch if tar.endswith(GZIP_SUFFIXES) else None) as source:
                ranges = [(one.offset_bytes, one.size_bytes) for one in some]
                contents: list[bytes | None] = [*source.read_ranges(ranges)]
            missing = "it has no image"
        except (HpcPipeError, OSError) as error:
            contents, missing = [None] * len(some), str(error)
        for one, content in zip(some, contents, strict=True):
            found[one.key] = Picture(ORIGINAL, content or None, missing, boxes_of(one))
    return found


def _by_tar(samples: Iterable[Selected]) -> dict[str, list[Selected]]:
    tars: dict[str, list[Selected]] = {}
    for one in samples:
        tars.setdefault(one.tar, []).append(one)
    return tars


def boxes_of(sample: Selected) -> tuple[Box, ...]:
    """A sample's faces as boxes with their scores. Raises nothing."""
    return tuple(
        Box(face.box, "" if face.score is None else f"{face.score:.2f}") for face in sample.faces
    )
