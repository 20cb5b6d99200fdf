"""The files of one generated sample: the image, the prompt, and a json that is true of both."""

import hashlib
import json
from typing import TYPE_CHECKING

import msgspec

from hpcpipe.formats.image_encode import encode
from hpcpipe.formats.json_records import strict_json
from hpcpipe.models.pictures import Picture
from hpcpipe.stages._generate_samples import Sample

if TYPE_CHECKING:
    from hpcpipe.stages.generate_images import GenerateImages

MADE = "made"
LEFT_OUT = "left_out_prompt"
UNSAFE, FAILED = "left_out_by_safety_checker", "failed_to_draw"
"""What is said of samples that have no image; `Made.reason` says why. Counters are called so."""


class Made(msgspec.Struct, frozen=True):
    """What became of one sample; written whole, saved whole.

    Attributes:
        key: its key.
        seed: its seed.
        status: `MADE`, `LEFT_OUT`, `UNSAFE` or `FAILED`.
        reason: class of what kept it from being made; None where it is.
        is_cut: the model did not read the prompt to its end.
        files: contents by extension; none where it is not made.
    """

    key: str
    seed: int
    status: str
    reason: str | None = None
    is_cut: bool = False
    files: dict[str, bytes] = {}

    def note(self) -> bytes:
        """Write the line that the shard's list has of it. Raises nothing."""
        fields = {"key": self.key, "status": self.status, "reason": self.reason, "seed": self.seed}
        return json.dumps({**fields, "prompt_cut": self.is_cut}).encode() + b"\n"


class FileMaker:
    """Makes the files of samples of one run; used in threads."""

    def __init__(self, stage: "GenerateImages", commit: str | None) -> None:
        """Note what is the same for all.

        Args:
            stage: the options.
            commit: of the model's repository; None for a folder.

        Raises:
            Nothing.
        """
        self._stage = stage
        self._drop = frozenset(stage.drop_fields)
        self._model = {
            "model": stage.model,
            "commit": commit,
            "steps": stage.steps,
            "guidance": stage.guidance,
            "width": stage.width_px,
            "height": stage.height_px,
            "max_sequence_length": stage.max_sequence_length,
            "negative_prompt": stage.negative_prompt,
            "dtype": stage.dtype,
        }

    def make(self, sample: Sample, is_cut: bool, picture: Picture) -> Made:
        """Make the files, once the picture is there.

        Args:
            sample: the sample.
            is_cut: whether the model did not read its prompt to the end.
            picture: what was drawn.

        Returns:
            The files, or why there are none.

        Raises:
            RuntimeError: the GPU failed.
        """
        reason = picture.failure()
        if reason is not None:
            status = UNSAFE if reason == "unsafe" else FAILED
            return Made(sample.key, sample.seed, status, reason, is_cut)
        stage = self._stage
        image = encode(picture.pixels(), stage.image_format, stage.image_quality)
        files = {
            stage.image_format: image,
            "txt": sample.prompt.encode(),
            "json": self._json(sample, image),
        }
        return Made(sample.key, sample.seed, MADE, None, is_cut, files)

    def _json(self, sample: Sample, image: bytes) -> bytes:
        """The original's json, made true of the new image, and where that comes from."""
        old = sample.original.json or {}
        record = {name: value for name, value in old.items() if name not in self._drop}
        record |= {
            "caption": sample.prompt,
            "sha256": hashlib.sha256(image).hexdigest(),
            "width": self._stage.width_px,
            "height": self._stage.height_px,
        }
        record["generated"] = {
            **self._model,
            "seed": sample.seed,
            "original": {
                "caption": sample.original.caption,
                "sha256": old.get("sha256"),
                "tar": sample.original.tar,
            },
            "rewritten": sample.rewriting,
        }
        return strict_json(record)
