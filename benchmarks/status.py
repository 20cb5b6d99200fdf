"""How long `status` takes on a run of 100,000 shards that 64 workers are through with.

Writes plan, claims-free journals and heartbeats such as workers write, then times the command
itself, start of Python included.

    python benchmarks/status.py [NUM_SHARDS]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from omegaconf import OmegaConf

from hpcpipe.config import from_omegaconf
from hpcpipe.manifest.heartbeat import Beat
from hpcpipe.manifest.identity import Identity
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.plan import write_plan
from hpcpipe.manifest.rundir import FORMAT_VERSION, NewRunDir, RunInfo
from hpcpipe.manifest.usage import Pace, Usage
from hpcpipe.stage import Input, OutputFile, Shard

NUM_WORKERS = 64
NUM_TIMES = 5
CONF = Path(__file__).resolve().parents[1] / "conf"
FAILED = {f"failed_to_download.class_{number:02d}": 1000 - number for number in range(40)}
REMARK = "slowest hosts: " + "images.example.com 12.1 s, " * 6
USED = Usage(8, 1, 3600.25, 3000.5, 3500.75, 1500, 15, 1_500_000, 150 * 10**9, 150 * 10**9)


def config_text(path: Path) -> str:
    """The configuration as a launch of reshard stores it."""
    cfg = OmegaConf.load(CONF / "config.yaml")
    for key in ("defaults", "hydra"):
        del cfg[key]
    groups = {"launcher": "slurm", "resources": "cpu", "site": "default", "stage": "reshard"}
    for group, choice in groups.items():
        cfg[group] = OmegaConf.load(CONF / group / f"{choice}.yaml")
    cfg.stage.input = "/data/*.tar"
    cfg.run_dir = str(path)
    return from_omegaconf(cfg, "reshard").text


def make_run(path: Path, num_shards: int) -> None:
    """Write a run directory: 95% done, 1% failed for good, the rest pending."""
    new = NewRunDir(path)
    ids = [f"part-{number % 100:03d}/shard-{number:06d}" for number in range(num_shards)]
    shards = (Shard(i, (Input(f"/data/{i}.tar", 10**8, "1"),), num_bytes=10**8) for i in ids)
    write_plan(new.path / "plan.jsonl", shards)
    info = RunInfo(
        FORMAT_VERSION,
        *("reshard", "hpcpipe.stages.reshard.Reshard", "bench", "0" * 16, f"{path}/out"),
        block_size=1,
        has_finalize=False,
        created_at=time.time(),
        version="0",
    )
    for number in range(NUM_WORKERS):
        name = f"9_{number}-{number:08x}"
        identity = Identity(
            name, f"9_{number}", "n1", "n1", "elsewhere", 1, 1, started_at=time.time()
        )
        beat = Beat(
            *(1, time.time(), "working", USED, ids[-1 - number], time.time(), 700, 10**8),
            *(FAILED, REMARK, Pace(120, 20_000, 3000, 3 * 10**9)),
        )
        (new.path / "workers" / f"{name}.json").write_bytes(msgspec.json.encode(identity))
        (new.path / "workers" / f"{name}.beat").write_bytes(msgspec.json.encode(beat))
        lines = msgspec.json.Encoder().encode_lines(
            [event(i, n) for n, i in list(enumerate(ids))[number::NUM_WORKERS] if n % 100 < 96]
        )
        (new.path / "journal" / f"{name}.jsonl").write_bytes(lines)
    new.publish(info, config_text(path))


def event(shard_id: str, number: int) -> Event:
    """What a worker writes when it is done with a shard, or has failed."""
    at = time.time() - 600 + number / 1000
    if number % 100 == 95:
        error = "ends at byte 512 inside a member"
        return Event("failed", 1, shard_id, at=at, seconds=1.2, error=error, final=True,
                     error_class="BadInputError", host="n1")  # fmt: skip
    stats = {"samples_in": 1000, "samples_out": 900, "samples_dropped": 100, "samples_edited": 30}
    output = OutputFile(f"{shard_id}.tar", 10**8, "xxh3_128:" + "0" * 32, 900)
    return Event("done", 1, shard_id, at=at, seconds=1.2, outputs=(output,), stats=stats,
                 num_samples=1000, bytes_in=10**8, host="n1")  # fmt: skip


def main() -> None:
    """Make the run and time the command."""
    num_shards = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        make_run(run_dir, num_shards)
        for args in (["status", str(run_dir)], ["status", str(run_dir), "--json"]):
            times = []
            for _ in range(NUM_TIMES):
                started = time.perf_counter()
                command = [sys.executable, "-m", "hpcpipe", *args]
                shown = subprocess.run(command, check=True, capture_output=True, env=os.environ)
                times.append(time.perf_counter() - started)
            print(f"{' '.join(args[:1] + args[2:]):15} {num_shards:,} shards: "
                  f"median {statistics.median(times):.2f} s, best {min(times):.2f} s")  # fmt: skip
            if args[-1] != "--json":
                print(shown.stdout.decode())


if __name__ == "__main__":
    main()
