"""Resizing photos: ours, plain Pillow and img2dataset's own resizer, and how alike results are.

    python benchmarks/image_resize.py                        # the tests' photos, enlarged
    python benchmarks/image_resize.py --photos FOLDER        # JPEGs of yours, as they are
    python benchmarks/image_resize.py --threads 4            # ours in threads, wall time

Images per second of CPU, one thread, the best of several rounds in turns. PSNR and SSIM are of the
pixels before they are encoded again (all write png for it), against decoding all of the JPEG and
shrinking by the area of the pixels. img2dataset needs `pip install img2dataset`, on a Python older
than 3.13; without it the others run.
"""

import argparse
import importlib.util
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpcpipe.formats.image_options import ImageOptions
from hpcpipe.formats.image_resize import ImageResizer

PHOTOS = Path(__file__).resolve().parents[1] / "tests" / "data" / "photos"

Resize = Callable[[bytes], bytes]


def ours(mode: str, size_px: int, encode_format: str) -> Resize:
    resizer = ImageResizer(
        ImageOptions(
            resize_mode=mode,
            image_size=size_px,
            resize_only_if_bigger=False,
            upscale_interpolation="lanczos",
            downscale_interpolation="area",
            encode_format=encode_format,
            encode_quality=95 if encode_format == "jpg" else 1,
            skip_reencode=False,
            disable_all_reencoding=False,
            min_image_size=0,
            max_image_area=100_000_000,
            max_aspect_ratio=float("inf"),
            extract_exif=True,
        )
    )
    return lambda content: resizer(content).content


def pillow(mode: str, size_px: int, encode_format: str) -> Resize:
    def resize(content: bytes) -> bytes:
        image = Image.open(io.BytesIO(content)).convert("RGB")
        scale = size_px / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BOX)
        if mode == "center_crop":
            left, top = (image.width - size_px) // 2, (image.height - size_px) // 2
            image = image.crop((left, top, left + size_px, top + size_px))
        file = io.BytesIO()
        options = {"quality": 95} if encode_format == "jpg" else {"compress_level": 1}
        image.save(file, {"jpg": "JPEG"}.get(encode_format, encode_format), **options)
        return file.getvalue()

    return resize


def img2dataset(mode: str, size_px: int, encode_format: str) -> Resize:
    from img2dataset.resizer import Resizer

    quality = 95 if encode_format == "jpg" else 1
    resizer = Resizer(size_px, mode, False, encode_quality=quality, encode_format=encode_format)

    def resize(content: bytes) -> bytes:
        made, *_, error = resizer(io.BytesIO(content))
        assert error is None, error
        return made

    return resize


def photos_of(folder: Path | None, shorter_px: int) -> list[bytes]:
    """The JPEGs of a folder, or the tests' photos, enlarged to what cameras and the web have."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.glob("*.jp*g"))]
    photos = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        scale = shorter_px / min(image.size)
        sides = [round(side * scale) for side in image.size]
        file = io.BytesIO()
        image.resize(sides, Image.Resampling.LANCZOS).save(file, "JPEG", quality=88)
        photos.append(file.getvalue())
    return photos


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


def truth(content: bytes, size: tuple[int, int]) -> np.ndarray:
    whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)[..., ::-1]


def compare(
    photos: list[bytes], contenders: dict[str, Callable], size_px: int, rounds: int
) -> None:
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, make in contenders.items():
            resize = make("keep_ratio", size_px, "jpg")
            start = time.process_time()
            for content in photos:
                resize(content)
            best[name] = min(best.get(name, 1e9), time.process_time() - start)
    print(f"| short side {size_px} | images/CPU-s | ratio | PSNR, dB (worst) | SSIM (worst) |")
    print("| --- | --- | --- | --- | --- |")
    for name, make in contenders.items():
        resize = make("keep_ratio", size_px, "png")
        pairs = []
        for content in photos:
            made = rgb(resize(content))
            pairs.append((made, truth(content, made.shape[1::-1])))
        decibels = [psnr_db(*pair) for pair in pairs]
        alike = [ssim(*pair) for pair in pairs]
        print(
            f"| {name} | {len(photos) / best[name]:.0f} | {best['hpcpipe'] / best[name]:.2f} "
            f"| {np.mean(decibels):.1f} ({min(decibels):.1f}) "
            f"| {np.mean(alike):.4f} ({min(alike):.4f}) |"
        )


def in_threads(photos: list[bytes], size_px: int, num_threads: int) -> None:
    resize = ours("keep_ratio", size_px, "jpg")
    many = photos * 10
    for count in (1, num_threads):
        with ThreadPoolExecutor(count) as pool:
            start = time.perf_counter()
            list(pool.map(resize, many))
            print(f"{count} threads: {len(many) / (time.perf_counter() - start):.0f} images/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of JPEGs")
    parser.add_argument("--shorter", type=int, default=1_000, help="of the tests' photos, pixels")
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512], help="to what, pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="instead: ours in so many threads")
    args = parser.parse_args()
    photos = photos_of(args.photos, args.shorter)
    num_pixels = sum(rgb(content).size // 3 for content in photos)
    print(
        f"{len(photos)} photos, {num_pixels / len(photos) / 1e6:.2f} megapixels and "
        f"{sum(map(len, photos)) / len(photos) / 1e3:.0f} kB each\n"
    )
    if args.threads:
        in_threads(photos, args.size[0], args.threads)
        return
    contenders = {"hpcpipe": ours, "plain Pillow": pillow}
    if importlib.util.find_spec("img2dataset"):
        contenders["img2dataset"] = img2dataset
    for size_px in args.size:
        compare(photos, contenders, size_px, args.rounds)
        print()


if __name__ == "__main__":
    main()
