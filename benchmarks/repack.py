"""Repacking with a global shuffle: hpcpipe beside webdataset's own read, shuffle and write.

    python benchmarks/repack.py [--dir DIR] [--num-tars 8] [--num-samples 2000] [--rounds 5]

Both read the same tars and write every sample once, in random order, into tars of as many
samples, and both make their output durable (fsync). Each runs in a process of its own that times
itself after its imports. webdataset gets a shuffle buffer that holds every sample, which a global
shuffle needs, and raw bytes, which is the fastest it has. ``ours`` includes planning, checksums
and the manifest; ``index`` is what indexing the tars costs, once. The results are compared sample
by sample before anything is printed.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path


def make_input(folder: Path, num_tars: int, num_samples: int) -> None:
    import webdataset

    folder.mkdir(parents=True)
    for tar in range(num_tars):
        rng = random.Random(tar)
        with webdataset.TarWriter(str(folder / f"{tar:05d}.tar"), encoder=False) as writer:
            for number in range(num_samples):
                key = f"{tar:03d}{number:06d}"
                text = f"a photo of thing number {number} in shard {tar}"
                record = json.dumps({"uid": f"{rng.getrandbits(128):032x}", "caption": text})
                image = rng.randbytes(rng.randint(30_000, 90_000))
                writer.write(
                    {
                        "__key__": key,
                        "jpg": image,
                        "txt": text.encode(),
                        "json": record.encode(),
                    }
                )


class Peak:
    """Largest anonymous memory of this process while it runs, in bytes."""

    def __init__(self):
        self.num_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._done.wait(0.02):
            kib = int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])
            self.num_bytes = max(self.num_bytes, kib << 10)

    def stop(self):
        self._done.set()
        self._thread.join()
        return self.num_bytes


def child_index(work: Path, out: Path, num_samples: int):
    import pyarrow.parquet  # noqa: F401

    import hpcpipe.compose.api
    import hpcpipe.formats.sample_table
    import hpcpipe.runtime.worker
    import hpcpipe.stages.index

    return lambda: hpcpipe.compose.api.run(
        "index",
        input=str(work / "in"),
        output=str(out),
        overrides=[f"run_dir={out}.run"],
    )


def child_ours(work: Path, out: Path, num_samples: int):
    import hpcpipe.compose.api
    import hpcpipe.runtime.worker
    import hpcpipe.stages._repack
    import hpcpipe.stages.reshard

    return lambda: hpcpipe.compose.api.run(
        "reshard",
        index=str(work / "index"),
        output=str(out),
        shuffle=True,
        shard_samples=num_samples,
        overrides=[f"run_dir={out}.run"],
    )


def child_webdataset(work: Path, out: Path, num_samples: int):
    import webdataset

    def run():
        out.mkdir()
        urls = sorted(str(path) for path in (work / "in").glob("*.tar"))
        total = len(urls) * num_samples
        data = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(total, initial=total)
        pattern = str(out / "%05d.tar")
        with webdataset.ShardWriter(
            pattern, maxcount=num_samples, maxsize=1 << 50, encoder=False, verbose=0
        ) as writer:
            for sample in data:
                writer.write({k: v for k, v in sample.items() if k in FIELDS})
        for path in out.glob("*.tar"):
            with open(path, "rb") as file:
                os.fsync(file.fileno())

    return run


def child_copy(work: Path, out: Path, num_samples: int):
    def run():
        out.mkdir()
        for path in sorted((work / "in").glob("*.tar")):
            with open(path, "rb") as source, open(out / path.name, "wb") as target:
                left = path.stat().st_size
                while left:
                    left -= os.sendfile(target.fileno(), source.fileno(), None, left)
                os.fsync(target.fileno())

    return run


FIELDS = ("__key__", "jpg", "txt", "json")
CHILDREN = {
    "ours": child_ours,
    "webdataset": child_webdataset,
    "copy": child_copy,
    "index": child_index,
}


def run_child(name: str, work: Path, out: Path, num_samples: int) -> None:
    run = CHILDREN[name](work, out, num_samples)
    peak = Peak()
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
    print(json.dumps({"s": seconds, "user_cpu_s": cpu, "anon_bytes": peak.stop()}))


def time_one(name: str, work: Path, out: Path, num_samples: int) -> dict[str, float]:
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(f"{out}.run", ignore_errors=True)
    os.sync()
    command = [sys.executable, __file__, "--child", name, "--dir", str(work), "--out", str(out)]
    command += ["--num-samples", str(num_samples)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def contents(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                found[member.name] = hashlib.sha256(tar.extractfile(member).read()).hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", type=Path, help="folder to work in (default: a temporary one)")
    parser.add_argument("--num-tars", type=int, default=8)
    parser.add_argument("--num-samples", type=int, default=2000, help="in each tar")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run_child(args.child, args.dir, args.out, args.num_samples)
        return
    if args.dir:
        os.makedirs(args.dir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="repack-", dir=args.dir) as folder:
        work = Path(folder)
        make_input(work / "in", args.num_tars, args.num_samples)
        times = {name: [] for name in CHILDREN}
        times["index"].append(time_one("index", work, work / "index", args.num_samples))
        names = [name for name in CHILDREN if name != "index"]
        for number in range(args.rounds):
            for name in names[number % 3 :] + names[: number % 3]:
                times[name].append(time_one(name, work, work / name, args.num_samples))
                if number == 0 and contents(work / name) != contents(work / "in"):
                    sys.exit(f"{name} did not write the same samples")
                shutil.rmtree(work / name)
    base = statistics.median(one["s"] for one in times["ours"])
    print(f"{'':12}{'s':>8}{'ratio':>8}{'user CPU s':>12}{'anon MB':>9}")
    for name, runs in times.items():
        median = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        print(
            f"{name:12}{median['s']:8.2f}{median['s'] / base:8.2f}"
            f"{median['user_cpu_s']:12.2f}{median['anon_bytes'] / 1e6:9.0f}"
        )


if __name__ == "__main__":
    main()
