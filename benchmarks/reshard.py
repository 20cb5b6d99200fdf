"""Times the overlay against other ways to do the same, on the same input, in turns.

    python benchmarks/reshard.py /dev/shm/bench            # 8 tars of 2,000 samples, 1 GB
    python benchmarks/reshard.py /scratch/bench --edits tar --samples 500

30% of the samples are edited (image, text and json), 20% are dropped by a keep list. Every way
runs in a process of its own; imports and set-up are not timed, syncing what was written is. All
results are compared member by member.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import reshard_peers as peers

WAYS = ["hpcpipe", "hpcpipe-2", "splice", "webdataset", "tarfile", "cp"]


def make_input(folder: Path, num_tars: int, num_samples: int) -> None:
    """Tars as webdataset writes them, edits in both forms, and a keep list."""
    from webdataset.writer import TarWriter

    rng = random.Random(0)
    noise = rng.randbytes(8 << 20)
    kept = []

    def image() -> bytes:
        size = rng.randrange(40_000, 80_000)
        start = rng.randrange(len(noise) - size)
        return noise[start : start + size]

    (folder / "in").mkdir(parents=True)
    for number in range(num_tars):
        loose = folder / "edits-loose" / f"{number:08d}"
        loose.mkdir(parents=True)
        (folder / "edits-tar").mkdir(exist_ok=True)
        with (
            open(folder / "in" / f"{number:08d}.tar", "wb") as out,
            TarWriter(out, encoder=False) as writer,
            tarfile.open(folder / "edits-tar" / f"{number:08d}.tar", "w") as edits,
        ):
            for index in range(num_samples):
                key = f"{number:04d}{index:08d}"
                meta = {"uid": f"{rng.getrandbits(128):032x}", "caption": "a photo", "width": 640}
                sample = {"jpg": image(), "txt": b"a photo", "json": json.dumps(meta).encode()}
                writer.write({"__key__": key, **sample})
                if rng.random() < 0.8:
                    kept.append(key)
                if rng.random() < 0.3:
                    new = json.dumps(meta | {"caption": "another"}).encode()
                    for extension, data in (("jpg", image()), ("txt", b"another"), ("json", new)):
                        (loose / f"{key}.{extension}").write_bytes(data)
                        info = tarfile.TarInfo(f"{key}.{extension}")
                        info.size = len(data)
                        edits.addfile(info, io.BytesIO(data))
    rng.shuffle(kept)
    (folder / "keep.txt").write_text("\n".join(kept))


def hpcpipe_run(job: peers.Job, num_workers: int):
    """Compose and import; returns what is timed: plan, claims, journal, checksums and all."""
    from hpcpipe.compose.api import compose_run
    from hpcpipe.launch import here, start  # noqa: F401
    from hpcpipe.launch.pending import Pending, new_launch
    from hpcpipe.launch.prepare import prepare
    from hpcpipe.runtime.results import open_state
    from hpcpipe.runtime.run_worker import run_worker
    from hpcpipe.runtime.signals import StopFlag

    config = compose_run(
        "reshard",
        # a quick beat: a worker that has run out of shards looks for the other's end that often
        overrides=[f"run_dir={job.out.parent / 'run'}", "run.linger_s=0", "run.heartbeat_s=0.2"],
        input=str(job.tars[0].parent / "*.tar"),
        output=str(job.out),
        edits=str(job.edits),
        keep=str(job.keep),
    )

    def work(run, launch, index: int) -> None:
        run_worker(run, config, launch, index, f"bench.{index}", StopFlag(run.stop_file))

    def timed() -> None:
        run, _ = prepare(config)
        state, reader = open_state(run, config)
        launch = new_launch(
            Pending(run, config, state, reader, len(state.plan)), "local", num_workers
        )
        children = []
        for index in range(1, num_workers):
            children.append(os.fork())
            if not children[-1]:
                work(run, launch, index)
                os._exit(0)
        work(run, launch, 0)
        for child in children:
            os.waitpid(child, 0)

    return timed


def run_one(way: str, job: peers.Job) -> None:
    """Run one way in this process and print what it took as JSON."""
    if way.startswith("hpcpipe"):
        timed = hpcpipe_run(job, 2 if way.endswith("-2") else 1)
    else:
        getattr(peers, f"prepare_{way}", lambda: None)()
        timed = lambda: getattr(peers, f"run_{way}")(job)  # noqa: E731
    peak, done = [anonymous_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, started = usage(), time.perf_counter()
    timed()
    wall_s = time.perf_counter() - started
    user_s, sys_s = (after - b for after, b in zip(usage(), before, strict=True))
    done.set()
    watcher.join()
    print(json.dumps({"wall": wall_s, "user": user_s, "sys": sys_s, "peak": peak[0] / 1e6}))


def usage() -> tuple[float, float]:
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + children.ru_utime, own.ru_stime + children.ru_stime


def anonymous_bytes() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024


def contents(folder: Path) -> list[tuple[str, str, int]]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [(path.name, m.name, hash(tar.extractfile(m).read())) for m in tar]
    return found


def prepare_round(folder: Path) -> None:
    for name in ("out", "run"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "out").mkdir()
    os.sync()


def compare(args: argparse.Namespace) -> None:
    folder = Path(args.folder)
    if not (folder / "in").exists():
        make_input(folder, args.tars, args.samples)
    ways = [way for way in WAYS if way in args.ways.split(",")]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    expected = None
    for _ in range(args.rounds):
        for way in ways:
            prepare_round(folder)
            command = [sys.executable, __file__, str(folder), "--edits", args.edits, "--one", way]
            text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[way].append(json.loads(text.splitlines()[-1]))
            if len(results[way]) == 1 and way != "cp":
                found = contents(folder / "out")
                expected = expected or found
                if found != expected:
                    raise SystemExit(f"{way} gives other members than {ways[0]}")
            if way == ways[0] and not (folder / "expected").exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.copytree(folder / "out", folder / "expected", ignore=hidden)
    shutil.rmtree(folder / "expected")
    show(results, args)


def hidden(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]


def show(results: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    ours = statistics.median(one["wall"] for one in results["hpcpipe"])
    print(f"{args.edits} edits, {args.rounds} rounds, medians; x: times hpcpipe's with one worker")
    print(f"{'way':12} {'wall s':>8} {'x':>6} {'user s':>8} {'sys s':>8} {'peak MB':>8}")
    for way, rounds in results.items():
        wall, user, system, peak = (
            statistics.median(one[key] for one in rounds) for key in ("wall", "user", "sys", "peak")
        )
        print(f"{way:12} {wall:8.2f} {wall / ours:6.2f} {user:8.2f} {system:8.2f} {peak:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where input and output go; made if it is not there")
    parser.add_argument("--tars", type=int, default=8)
    parser.add_argument("--samples", type=int, default=2000, help="in each tar")
    parser.add_argument("--edits", choices=["loose", "tar"], default="loose")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is None:
        compare(args)
        return
    folder = Path(args.folder)
    tars = sorted((folder / "in").glob("*.tar"))
    edits = folder / f"edits-{args.edits}"
    run_one(args.one, peers.Job(tars, edits, args.edits, folder / "keep.txt", folder / "out"))


if __name__ == "__main__":
    main()
