"""Ways to resize images, each given the same jobs: ours, plain Pillow and img2dataset's resizer.

img2dataset runs in an environment of its own, whose Python runs this file: it may need nothing but
what that environment has.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Resize = Callable[[bytes], bytes]


class Job(NamedTuple):
    content: bytes
    mode: str
    size_px: int


class Done(NamedTuple):
    cpu_s: float
    contents: list[bytes]


def in_rounds(resizers: list[Resize], contents: list[bytes], num_rounds: int) -> Done:
    """All jobs in one thread; the seconds are those of the best round."""
    best_s, made = float("inf"), []
    for _ in range(num_rounds):
        start_s = time.process_time()
        made = [resize(content) for resize, content in zip(resizers, contents, strict=True)]
        best_s = min(best_s, time.process_time() - start_s)
    return Done(best_s, made)


def quality_of(encode_format: str) -> int:
    return {"jpg": 95, "png": 1}[encode_format]


def ours(jobs: list[Job], encode_format: str, num_rounds: int) -> Done:
    from hpcpipe.formats.image_options import ImageOptions
    from hpcpipe.formats.image_resize import ImageResizer

    def resizer(mode: str, size_px: int) -> Resize:
        resize = ImageResizer(
            ImageOptions(
                resize_mode=mode,
                image_size=size_px,
                resize_only_if_bigger=False,
                upscale_interpolation="lanczos",
                downscale_interpolation="area",
                encode_format=encode_format,
                encode_quality=quality_of(encode_format),
                skip_reencode=False,
                disable_all_reencoding=False,
                min_image_size=0,
                max_image_area=100_000_000,
                max_aspect_ratio=float("inf"),
                extract_exif=True,
            )
        )
        return lambda content: resize(content).content

    return in_rounds(*_with(resizer, jobs), num_rounds)


def pillow(jobs: list[Job], encode_format: str, num_rounds: int) -> Done:
    from PIL import Image

    def resizer(mode: str, size_px: int) -> Resize:
        def resize(content: bytes) -> bytes:
            image = Image.open(io.BytesIO(content)).convert("RGB")
            scale = size_px / (max if mode == "border" else min)(image.size)
            image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BOX)
            if mode == "border":
                square = Image.new("RGB", (size_px, size_px), "white")
                square.paste(image, [(size_px - side) // 2 for side in image.size])
                image = square
            file = io.BytesIO()
            how = {"quality": 95} if encode_format == "jpg" else {"compress_level": 1}
            image.save(file, {"jpg": "JPEG", "png": "PNG"}[encode_format], **how)
            return file.getvalue()

        return resize

    return in_rounds(*_with(resizer, jobs), num_rounds)


def img2dataset(
    python: Path, folder: Path, jobs: list[Job], encode_format: str, num_rounds: int
) -> Done:
    """The same in a process of another environment; files of the jobs go through a folder."""
    for place, job in enumerate(jobs):
        (folder / f"{place}.in").write_bytes(job.content)
    (folder / "jobs.json").write_text(json.dumps([job[1:] for job in jobs]))
    command = [python, __file__, folder, encode_format, str(num_rounds)]
    environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
    found = subprocess.run(command, env=environment, check=True, capture_output=True)
    made = [(folder / f"{place}.out").read_bytes() for place in range(len(jobs))]
    return Done(float(found.stdout.split()[-1]), made)


def _as_img2dataset(folder: Path, encode_format: str, num_rounds: int) -> None:
    from img2dataset.resizer import Resizer

    def resizer(mode: str, size_px: int) -> Resize:
        quality = quality_of(encode_format)
        resize = Resizer(size_px, mode, False, encode_quality=quality, encode_format=encode_format)
        return lambda content: resize(io.BytesIO(content))[0]

    jobs = [
        Job((folder / f"{place}.in").read_bytes(), *words)
        for place, words in enumerate(json.loads((folder / "jobs.json").read_text()))
    ]
    done = in_rounds(*_with(resizer, jobs), num_rounds)
    for place, content in enumerate(done.contents):
        (folder / f"{place}.out").write_bytes(content)
    print(done.cpu_s)


def _with(
    resizer: Callable[[str, int], Resize], jobs: list[Job]
) -> tuple[list[Resize], list[bytes]]:
    made = {job[1:]: resizer(*job[1:]) for job in jobs}
    return [made[job[1:]] for job in jobs], [job.content for job in jobs]


if __name__ == "__main__":
    _as_img2dataset(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
