"""Resizing images: how many a second, and how good, beside plain Pillow and img2dataset's resizer.

    python benchmarks/image_resize.py
    python benchmarks/image_resize.py --img2dataset VENV/bin/python

img2dataset needs an environment of its own: `pip install img2dataset==1.47`, on a Python older than
3.13. Speed: JPEG to JPEG of quality 95, seconds of CPU, one thread, the best of the rounds.
Quality: of the pixels before they are encoded (all write png for it), against all of the JPEG
decoded, then shrunk by the mean of areas (OpenCV's INTER_AREA); "JPEG 95" is that very image,
written and read again. The second SSIM is against Pillow's Lanczos, in which lines too fine for the
size are gray, where means of areas draw patterns that were not there.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import image_resize_inputs as inputs
from benchmarks import image_resize_peers as peers
from benchmarks.image_resize_peers import Done, Job
from hpcpipe.formats.image_decode import LARGER_BY_FRACTION

Contenders = dict[str, Callable[[list[Job], str, int], Done]]


def reference(job: Job, whole: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """By areas, and by Lanczos."""
    height, width = shape[:2]
    size = (width, height)
    if job.mode == "border":
        scale = job.size_px / max(whole.shape)
        size = tuple(max(round(side * scale), 1) for side in whole.shape[1::-1])
    both = (
        cv2.resize(whole, size, interpolation=cv2.INTER_AREA),
        np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS)),
    )
    above, before = (height - size[1]) // 2, (width - size[0]) // 2
    edges = (above, height - size[1] - above, before, width - size[0] - before)
    white = (cv2.BORDER_CONSTANT, None, (255, 255, 255))
    return tuple(cv2.copyMakeBorder(image, *edges, *white) for image in both)


def qualities(jobs: list[Job], contenders: Contenders) -> dict[str, np.ndarray]:
    """PSNR, SSIM and SSIM to Lanczos of every job."""
    found, truths = {}, []
    for name, resize in contenders.items():
        made = [inputs.rgb(content) for content in resize(jobs, "png", 1).contents]
        if not truths:
            decoded = (inputs.rgb(job.content) for job in jobs)
            truths = [
                reference(job, whole, image.shape)
                for job, whole, image in zip(jobs, decoded, made, strict=True)
            ]
        found[name] = _alike(made, truths)
    written = [inputs.rgb(inputs.jpeg(truth, 95)) for truth, _ in truths]
    return found | {"JPEG 95": _alike(written, truths)}


def _alike(made: list, truths: list) -> np.ndarray:
    return np.array(
        [
            (
                inputs.psnr_db(image, truth),
                inputs.ssim(image, truth),
                inputs.ssim(image, lanczos),
            )
            for image, (truth, lanczos) in zip(made, truths, strict=True)
        ]
    )


def show_qualities(what: str, jobs: list[Job], contenders: Contenders) -> None:
    print(f"\n| {what} | PSNR, dB (worst) | SSIM (worst) | SSIM to Lanczos (worst) |")
    print("| --- | --- | --- | --- |")
    for name, values in qualities(jobs, contenders).items():
        means, worst = values.mean(axis=0), values.min(axis=0)
        cells = [f"{means[0]:.1f} ({worst[0]:.1f})"]
        cells += [f"{mean:.4f} ({low:.4f})" for mean, low in zip(means[1:], worst[1:], strict=True)]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def show_hard_cases(contenders: Contenders) -> None:
    cases = inputs.hard_cases()
    found = qualities([Job(content, "keep_ratio", 256) for content in cases.values()], contenders)
    print("\n| PSNR, dB / SSIM / SSIM to Lanczos |", " | ".join(found), "|")
    print("| --- |" + " --- |" * len(found))
    for place, name in enumerate(cases):
        rows = (values[place] for values in found.values())
        print(f"| {name} |", " | ".join(f"{a:.1f} / {b:.3f} / {c:.3f}" for a, b, c in rows), "|")


def show_speed(photos: list[bytes], contenders: Contenders, num_rounds: int) -> None:
    print("\n| images/CPU-s |", " | ".join(contenders), "|\n| --- |" + " --- |" * len(contenders))
    for mode, size_px in (("keep_ratio", 256), ("border", 256), ("keep_ratio", 512)):
        jobs = [Job(photo, mode, size_px) for photo in photos]
        rates = [
            len(jobs) / resize(jobs, "jpg", num_rounds).cpu_s for resize in contenders.values()
        ]
        cells = (f"{rate:.0f} ({rates[0] / rate:.2f})" for rate in rates)
        print(f"| {mode} {size_px} |", " | ".join(cells), "|", flush=True)


def at_limit(fraction: int) -> list[Job]:
    """The tests' photos, to the largest size for which such a part is decoded."""
    jobs = []
    for content in inputs.originals():
        shorter = -(-min(inputs.rgb(content).shape[:2]) // fraction)
        # less one: sides are rounded
        size_px = int(shorter / LARGER_BY_FRACTION[fraction]) - 1
        jobs.append(Job(content, "keep_ratio", size_px))
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--img2dataset", type=Path, metavar="PYTHON", help="of its environment")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    contenders: Contenders = {"hpcpipe": peers.ours, "plain Pillow": peers.pillow}
    photos = inputs.web_photos(args.photos)
    with tempfile.TemporaryDirectory() as folder:
        if args.img2dataset:
            contenders["img2dataset"] = partial(peers.img2dataset, args.img2dataset, Path(folder))
        print(f"{len(photos)} photos of {np.mean(list(map(len, photos))) / 1e3:.0f} kB each")
        show_speed(photos, contenders, args.rounds)
        for mode in ("keep_ratio", "border"):
            jobs = [Job(photo, mode, 256) for photo in photos]
            show_qualities(f"these photos, {mode} 256", jobs, contenders)
        for fraction in sorted(LARGER_BY_FRACTION):
            what = (
                f"decoded at 1/{fraction}, {LARGER_BY_FRACTION[fraction]} times as large as wanted"
            )
            show_qualities(what, at_limit(fraction), contenders)
        show_hard_cases(contenders)


if __name__ == "__main__":
    main()
