"""Images and options for the tests of ``hpcpipe.formats.image*``."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpcpipe.formats.image_options import ImageOptions
from hpcpipe.formats.image_resize import ImageResizer, ResizedImage

PHOTOS = sorted((Path(__file__).parents[1] / "data" / "photos").glob("*.jpg"))

DEFAULTS: dict[str, Any] = {
    "resize_mode": "keep_ratio",
    "image_size": 256,
    "resize_only_if_bigger": False,
    "upscale_interpolation": "lanczos",
    "downscale_interpolation": "area",
    "encode_format": "jpg",
    "encode_quality": 95,
    "skip_reencode": False,
    "disable_all_reencoding": False,
    "min_image_size": 0,
    "max_image_area": 100_000_000,
    "max_aspect_ratio": float("inf"),
    "extract_exif": True,
}


def options(**changes: Any) -> ImageOptions:
    if changes.get("encode_format") == "png":
        changes = {"encode_quality": 6} | changes
    return ImageOptions(**(DEFAULTS | changes))


def resize(content: bytes, boxes: Any = None, **changes: Any) -> ResizedImage:
    return ImageResizer(options(**changes))(content, boxes)


def photo(name: str) -> bytes:
    return next(path for path in PHOTOS if path.stem == name).read_bytes()


def drawing(width: int, height: int) -> Image.Image:
    """Smooth colours, of which every corner has another."""
    across = np.linspace(0, 255, width)[np.newaxis, :].repeat(height, axis=0)
    down = np.linspace(0, 255, height)[:, np.newaxis].repeat(width, axis=1)
    pixels = np.stack([across, down, (across + 255 - down) / 2], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, kind: str, **save: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **save)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    """Read it back with Pillow, whole."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pixels(content: bytes) -> Any:
    return np.asarray(opened(content).convert("RGB"), dtype=float)


def difference(first: Any, second: Any) -> float:
    """Mean difference of two images' values, of 255."""
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())
