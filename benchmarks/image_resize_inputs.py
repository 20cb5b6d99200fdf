"""What images are resized in ``image_resize.py``, and how alike two of them are."""

import io
import random
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

PHOTOS = Path(__file__).resolve().parents[1] / "tests" / "data" / "photos"

LONGER_PX, PHOTO_BYTES = 960, 150_000
HARD_PX = 896
"""Decoded at a half for 256 pixels, which is then as little larger than wanted as it ever is."""


def originals() -> list[bytes]:
    return [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]


def web_photos(num_photos: int) -> list[bytes]:
    """Crops of the tests' photos: 960 pixels wide, each of about 150 kB."""
    rng = random.Random(0)
    photos = [Image.open(io.BytesIO(content)).convert("RGB") for content in originals()]
    made = []
    for _ in range(num_photos):
        photo = rng.choice(photos)
        width, height = (round(length * rng.uniform(0.7, 1)) for length in photo.size)
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
        photo = photo.crop((left, top, left + width, top + height))
        photo = photo.resize((LONGER_PX, round(LONGER_PX * height / width)))
        files = [jpeg(np.asarray(photo), quality) for quality in range(40, 100, 4)]
        made.append(min(files, key=lambda file: abs(len(file) - PHOTO_BYTES)))
    return made


def hard_cases() -> dict[str, bytes]:
    """Gratings of 2 to 8 pixels a line, rings finer and finer, text, noise; JPEG of quality 95."""
    across, down = np.meshgrid(np.arange(HARD_PX), np.arange(HARD_PX))
    made = {
        f"lines, {period} px": np.sin(2 * np.pi * (0.8 * across + 0.6 * down) / period)
        for period in (2, 3, 4, 8)
    }
    middle = HARD_PX / 2
    made["rings"] = np.cos(np.pi / HARD_PX * ((across - middle) ** 2 + (down - middle) ** 2))
    images = {
        name: np.repeat(np.rint(127.5 + 127.5 * wave).astype(np.uint8)[..., np.newaxis], 3, axis=2)
        for name, wave in made.items()
    }
    images["text"] = np.full((HARD_PX, HARD_PX, 3), 255, np.uint8)
    for line in range(HARD_PX // 16):
        words, where = f"{line} quick brown foxes and lazy dogs " * 4, (3, 12 + 16 * line)
        colour = [(0, 0, 0), (200, 0, 0), (0, 0, 200)][line % 3]
        cv2.putText(images["text"], words, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour)
    images["noise"] = np.random.default_rng(0).integers(0, 256, (HARD_PX, HARD_PX, 3), np.uint8)
    return {name: jpeg(image, 95) for name, image in images.items()}


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")


def rgb(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(float) - second.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-4)))


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity of the brightness, with a Gaussian window of deviation 1.5."""
    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float) for image in (first, second))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((alike / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
