"""What the framework costs a shard, beside datatrove's local executor and submitit's map_array.

    python benchmarks/framework.py FOLDER                    # 10,000 shards, 2 local workers
    python benchmarks/framework.py FOLDER --slurm            # submitit's map_array, too
    python benchmarks/framework.py FOLDER --launch 100000    # only: how long `-m` and status take

The stage does nothing. Ours syncs a journal line for every shard. Whole processes are timed from
outside, start-up included; the cost of a shard is the difference between many shards and few,
divided by their number. datatrove needs `pip install datatrove`; --slurm needs a cluster whose
sbatch is on the path.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep

class Noop(PipelineStep):
    def run(self, data, rank=0, world_size=1):
        yield from ()

if __name__ == "__main__":
    folder, tasks = sys.argv[1], int(sys.argv[2])
    LocalPipelineExecutor(
        pipeline=[Noop()], tasks=tasks, workers=2, logging_dir=folder, start_method="fork"
    ).run()
"""

MAP_ARRAY = """
import sys
import submitit

def noop(number):
    return number

if __name__ == "__main__":
    folder, tasks = sys.argv[1], int(sys.argv[2])
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(time=10, cpus_per_task=1, array_parallelism=2, mem="500MB")
    for job in executor.map_array(noop, range(tasks)):
        job.result()
"""


def seconds(command: list[str], env: dict[str, str]) -> float:
    """Wall time of a process that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - start


class Bench:
    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds, self.count = folder, rounds, 0
        self.env = {
            **os.environ,
            "HPCPIPE_RUNS": str(folder / "runs"),
            "HPCPIPE_CONF": str(HERE / "conf"),
            "HF_HUB_OFFLINE": "1",
        }

    def fresh(self) -> Path:
        self.count += 1
        return self.folder / f"peer-{self.count}"

    def ours(self, num_shards: int, *args: str) -> float:
        self.count += 1
        command = [sys.executable, "-m", "hpcpipe", "stage=noop", f"paths.code={HERE}"]
        command += [f"stage.num_shards={num_shards}", f"run_name=n{self.count}", *args, "-m"]
        return seconds(command, self.env)

    def local(self, num_shards: int) -> float:
        return self.ours(num_shards, "launcher=local", "launcher.num_workers=2")

    def slurm(self, num_shards: int) -> float:
        return self.ours(
            num_shards, "launcher.array_size=2", "resources.cpus=1", "resources.mem_gb=0.5",
            "wait=true",
        )  # fmt: skip

    def script(self, text: str, num_tasks: int) -> float:
        folder = self.fresh()
        folder.mkdir(parents=True)
        script = folder / "peer.py"
        script.write_text(text)
        return seconds(
            [sys.executable, str(script), str(folder / "logs"), str(num_tasks)], self.env
        )

    def per_shard_ms(self, way, few: int, many: int) -> list[float]:
        return [1e3 * (way(many) - way(few)) / (many - few) for _ in range(self.rounds)]


def show(name: str, values: list[float], unit: str, base: float | None = None) -> float:
    median = statistics.median(values)
    ratio = f"   {median / base:8.1f} x ours" if base else ""
    print(f"{name:32s} {median:9.3f} {unit}  ({min(values):.3f} to {max(values):.3f}){ratio}")
    return median


def launch(bench: Bench, num_shards: int) -> None:
    """Time `-m` up to sbatch's answer, and `status`, for many input files."""
    inputs = bench.folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for number in range(num_shards):
        (inputs / f"{number:07d}.tar").touch()
    subprocess.run(["scontrol", "update", "PartitionName=cpu", "State=DOWN"], check=True)
    times: dict[str, list[float]] = {"-m": [], "status": [], "--help": []}
    hpcpipe = [sys.executable, "-m", "hpcpipe"]
    for number in range(bench.rounds):
        name = f"launch{number}"
        command = [*hpcpipe, "stage=noop_files", f"stage.input={inputs}/*.tar", "-m"]
        command += [f"run_name={name}", f"paths.code={HERE}"]
        times["-m"].append(seconds(command, bench.env))
        (run,) = (bench.folder / "runs" / "noop_files").glob(f"{name}-*")
        times["status"].append(seconds([*hpcpipe, "status", str(run)], bench.env))
        times["--help"].append(seconds([*hpcpipe, "--help"], bench.env))
        subprocess.run([*hpcpipe, "cancel", str(run)], env=bench.env, check=True)
    subprocess.run(["scontrol", "update", "PartitionName=cpu", "State=UP"], check=True)
    for name, values in times.items():
        show(f"{name} ({num_shards:,} shards)", values, "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--peer-tasks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--launch", type=int, metavar="SHARDS")
    args = parser.parse_args()
    bench = Bench(args.folder.resolve(), args.rounds)
    try:
        if args.launch:
            launch(bench, args.launch)
            return
        base = show(
            "hpcpipe, 2 local workers", bench.per_shard_ms(bench.local, 100, args.shards), "ms"
        )
        peers = {"datatrove, 2 local workers": lambda n: bench.script(DATATROVE, n)}
        if args.slurm:
            ours = bench.per_shard_ms(bench.slurm, 100, args.shards)
            show("hpcpipe, 2 SLURM workers", ours, "ms", base)
            peers["submitit map_array, 2 at a time"] = lambda n: bench.script(MAP_ARRAY, n)
        for name, way in peers.items():
            few = 10
            show(name, bench.per_shard_ms(way, few, few + args.peer_tasks), "ms", base)
    finally:
        shutil.rmtree(args.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
