"""Downloads beside img2dataset's: the same photos, from the same nginx, in turns.

    python benchmarks/download.py FOLDER --img2dataset VENV/bin/img2dataset
    python benchmarks/download.py FOLDER --rounds 5 --photos 5000
    python benchmarks/download.py FOLDER --slurm --workers 8      # local workers and SLURM's

Photos of about 150 KB are fetched into webdataset shards of 1,250 (for two workers), once with
their bytes kept and once resized (keep_ratio, 256 px, JPEG 95), by as many processes of either
program, all checks of ours on. The rate is that of the work alone, from the first start to the
last end in ``_stats.json``, which both write; seconds, CPU and peak memory (PSS) are those of the
whole command with all its processes. img2dataset needs an environment of its own:
``pip install img2dataset==1.47``; --slurm needs a cluster whose sbatch is on the path.
"""

import argparse
import io
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PHOTO_BYTES, NUM_DIFFERENT = 150_000, 200
WAYS = ("raw", "256 px")


def make_photos(folder: Path, num_photos: int) -> None:
    """Crops of real photos, each of about PHOTO_BYTES; names share files."""
    from PIL import Image

    photos = [Image.open(path) for path in sorted((ROOT / "tests/data/photos").glob("*.jpg"))]
    rng = random.Random(0)
    folder.mkdir(parents=True)
    for number in range(num_photos):
        path = folder / f"{number:06d}.jpg"
        if number >= NUM_DIFFERENT:
            os.link(folder / f"{number % NUM_DIFFERENT:06d}.jpg", path)
            continue
        photo = rng.choice(photos).convert("RGB")
        side = [round(length * rng.uniform(0.7, 1)) for length in photo.size]
        left, top = (rng.randint(0, a - b) for a, b in zip(photo.size, side, strict=True))
        photo = photo.crop((left, top, left + side[0], top + side[1]))
        photo = photo.resize((960, round(960 * side[1] / side[0])), Image.Resampling.LANCZOS)
        path.write_bytes(_jpeg_of_about(photo, PHOTO_BYTES))


def _jpeg_of_about(photo, num_bytes: int) -> bytes:
    made = []
    for quality in range(40, 100, 3):
        data = io.BytesIO()
        photo.save(data, "JPEG", quality=quality)
        made.append(data.getvalue())
    return min(made, key=lambda one: abs(len(one) - num_bytes))


def ours(urls: Path, out: Path, way: str, num_workers: int, launcher: str = "local") -> list[str]:
    """The command of hpcpipe."""
    number = {"local": "launcher.num_workers", "slurm": "launcher.array_size"}[launcher]
    kept = ["stage.image.disable_all_reencoding=true", "stage.image.resize_mode=no"]
    resized = ["stage.image.resize_mode=keep_ratio", "stage.image.image_size=256"]
    return [
        *(sys.executable, "-m", "hpcpipe", "stage=download", f"launcher={launcher}", "-m"),
        *(f"stage.input={urls}", "stage.caption_col=caption", f"stage.output={out}/out"),
        *(f"stage.shard_samples={2500 // num_workers}", f"{number}={num_workers}", "wait=true"),
        *("resources.cpus=1", "resources.mem_gb=0.5", "run_name=bench"),
        *("stage.fetch.allow_private_hosts=true", "stage.fetch.max_per_host=64"),
        *(f"paths.runs={out}/runs", *(kept if way == "raw" else resized)),
    ]


def img2dataset(program: str, urls: Path, out: Path, way: str, num_workers: int) -> list[str]:
    """The command of img2dataset."""
    kept = ["--disable_all_reencoding=True", "--resize_mode=no"]
    resized = ["--resize_mode=keep_ratio", "--image_size=256", "--encode_quality=95"]
    return [
        *(program, f"--url_list={urls}", "--input_format=parquet", "--url_col=url"),
        *("--caption_col=caption", "--output_format=webdataset", f"--output_folder={out}/out"),
        *(f"--processes_count={num_workers}", "--thread_count=64", "--compute_hash=sha256"),
        *(f"--number_sample_per_shard={2500 // num_workers}", *(kept if way == "raw" else resized)),
    ]


class Memory(threading.Thread):
    """The most memory that a session's processes held together, in bytes, by PSS."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peak_bytes, self.over = session, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.peak_bytes = max(
                self.peak_bytes, sum(map(self._pss, Path("/proc").glob("[0-9]*")))
            )

    def _pss(self, process: Path) -> int:
        with suppress(OSError, ProcessLookupError):
            if os.getsid(int(process.name)) == self.session:
                line = (process / "smaps_rollup").read_text().split("\nPss:")[1]
                return int(line.split()[0]) * 1024
        return 0


def measure(command: list[str], out: Path, num_photos: int) -> dict[str, float]:
    """Run one command and read its results back."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    before, began = os.times(), time.perf_counter()
    with (out / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=out)
        memory = Memory(process.pid)
        memory.start()
        returned = process.wait()
    seconds, after = time.perf_counter() - began, os.times()
    memory.over.set()
    memory.join()
    assert returned == 0, (out / "log").read_text()[-3000:]
    stats = [json.loads(path.read_text()) for path in (out / "out").glob("*_stats.json")]
    assert sum(one["successes"] for one in stats) == num_photos, stats
    work_s = max(one["end_time"] for one in stats) - min(one["start_time"] for one in stats)
    cpu_s = sum(after[2:4]) - sum(before[2:4])
    return {
        "images/s": num_photos / work_s,
        "command s": seconds,
        "CPU s / 1,000": 1000 * cpu_s / num_photos,
        "peak MB": memory.peak_bytes / 1e6,
    }


def show(found: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    """Print medians, and the first by the second."""
    for way in WAYS:
        (first, *_), *_ = (rounds for (_, its_way), rounds in found.items() if its_way == way)
        names = list(first)
        print(f"\n{way}")
        print("| |", " | ".join(names), "|\n| --- |", " | ".join("---" for _ in names), "|")
        medians = {
            who: [statistics.median(one[name] for one in rounds) for name in names]
            for (who, its_way), rounds in found.items()
            if its_way == way
        }
        for who, values in medians.items():
            print(f"| {who} |", " | ".join(f"{value:,.1f}" for value in values), "|")
        if len(medians) == 2:
            pairs = zip(*medians.values(), strict=True)
            print("| ratio |", " | ".join(f"{a / b:.2f}" for a, b in pairs), "|")


def main() -> None:
    """Measure and print."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.servers.certificates import make_certificates
    from tests.servers.nginx import nginx_server

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder, some GB free")
    parser.add_argument("--img2dataset", metavar="PROGRAM", help="img2dataset in its environment")
    parser.add_argument("--slurm", action="store_true", help="workers on SLURM in their place")
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    folder = args.folder.resolve()
    make_photos(folder / "photos", args.photos)
    made = make_certificates(Path(tempfile.mkdtemp(dir=folder)), ["localhost"])
    found = defaultdict(list)
    with nginx_server(folder / "photos", made.server, made.key) as server:
        addresses = [f"http://127.0.0.1:{server.port}/{n:06d}.jpg" for n in range(args.photos)]
        columns = {"url": addresses, "caption": [f"photo {n}" for n in range(args.photos)]}
        pq.write_table(pa.table(columns), folder / "urls.parquet")
        for _, way in itertools.product(range(args.rounds), WAYS):
            job = (folder / "urls.parquet", folder / "result", way, args.workers)
            commands = {"hpcpipe": ours(*job)}
            if args.slurm:
                commands["hpcpipe on SLURM"] = ours(*job, "slurm")
            elif args.img2dataset:
                commands["img2dataset"] = img2dataset(args.img2dataset, *job)
            for who, command in commands.items():
                found[who, way].append(measure(command, folder / "result", args.photos))
                print(
                    who, way, {k: round(v, 1) for k, v in found[who, way][-1].items()}, flush=True
                )
    show(found)


if __name__ == "__main__":
    main()
