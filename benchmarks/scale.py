"""What 10,000, 100,000 and 1,000,000 shards cost: planned, launched, worked on, shown, resumed.

    python benchmarks/scale.py FOLDER [--shards 10000 100000 1000000]

The stage does nothing; every command is the real one, Python's start included. Real workers do
the first shards of every plan, up to 50,000, and the last ones; the journal lines between are
written here, as 64 workers would have. `strace` counts what a worker asks of the filesystem.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from hpcpipe.manifest.journal import Event, JournalReader
from hpcpipe.manifest.plan import Plan
from hpcpipe.manifest.rundir import RunDir

HERE = Path(__file__).resolve().parent
NUM_WORKERS = 64
MAX_REAL = 50_000
NUM_TRACED = 2000
GOALS = {
    "plan and launch, MB": "< 1,500",
    "status, nearly all done, s": "< 5",
    "status, nearly all done, MB": "< 1,500",
    "resume, s": "",
    "status from the snapshot, s": "< 5",
    "resume from the snapshot, s": "< 5",
    "worker's first shard after a resume, s": "< 3",
    "ms a shard, one worker": "1.5 x 10,000's",
    "metadata operations a shard": "<= 6",
    "files at rest": "< 300 + 8 a worker",
}


class Cost(NamedTuple):
    """What a command took."""

    seconds: float
    peak_mb: float
    started_at: float


class Scale:
    """One run of a given number of shards."""

    def __init__(self, folder: Path, num_shards: int) -> None:
        self.num_shards = num_shards
        self.found: dict[str, float] = {}
        self._stage = [
            "stage=noop",
            f"stage.num_shards={num_shards}",
            f"paths.code={HERE}",
            f"run_name=n{num_shards}",
        ]
        self._env = {
            **os.environ,
            "HPCPIPE_RUNS": str(folder / "runs"),
            "HPCPIPE_CONF": str(HERE / "conf"),
        }
        self._runs = folder / "runs" / "noop"

    def run(self) -> dict[str, float]:
        launch = ["launcher=script", "-m"]
        cost = self._command(*self._stage, *launch)
        self._note("plan and launch", cost)
        (path,) = self._runs.glob(f"n{self.num_shards}-*")
        self._note("status, nothing done", self._command("status", str(path)))
        run = RunDir(path)
        self._work(run)
        self._write_the_rest(run)
        self._note("status, nearly all done", self._command("status", str(path)))
        self._note("resume", self._command(*self._stage, *launch))
        self._note("status from the snapshot", self._command("status", str(path)))
        self._note("resume from the snapshot", self._command(*self._stage, *launch))
        started = self._command("work", str(path))
        events = self._events(run)
        self.found["worker's first shard after a resume, s"] = events[0].at - started.started_at
        self.found["the last worker, s"] = started.seconds
        self.found["files at rest"] = sum(len(names) for _, _, names in os.walk(path))
        self.found["workers"] = len(list(run.workers.glob("*.beat"))) + NUM_WORKERS
        return self.found

    def _work(self, run: RunDir) -> None:
        """Have a worker do the first shards, and another one be watched doing some more."""
        num_real = min(MAX_REAL, self.num_shards * 7 // 10)
        self._command("work", str(run.path), "--limit", str(num_real))
        events = self._events(run)
        between = events[-1].at - events[0].at
        self.found["ms a shard, one worker"] = 1e3 * between / (len(events) - 1)
        trace = run.path / "trace"
        command = ["strace", "-f", "-y", "-e", "trace=%file,fsync,fdatasync", "-o", str(trace)]
        command += [sys.executable, "-m", "hpcpipe", "work", str(run.path)]
        command += ["--limit", str(num_real + NUM_TRACED)]
        subprocess.run(command, env=self._env, check=True, capture_output=True)
        self.found["metadata operations a shard"] = num_operations(trace, run.path) / NUM_TRACED
        trace.unlink()

    def _write_the_rest(self, run: RunDir) -> None:
        """Write what 64 workers would have; one shard in a hundred is left, 10,000 at most."""
        plan = Plan(run.path, run.info.block_size)
        reader = JournalReader(run.journal, Event)
        done = {event.shard for _, event in reader.read() if event.event == "done"}
        left = [shard_id for shard_id in plan.ids if shard_id not in done]
        left = left[: -(self.num_shards // 100)]
        encode = msgspec.json.Encoder().encode_lines
        for number in range(NUM_WORKERS):
            now = time.time()
            lines = [
                Event("done", 1, shard_id, at=now, seconds=0.001, stats={"samples_in": 1})
                for shard_id in left[number::NUM_WORKERS]
            ]
            (run.journal / f"9_{number}-{number:08x}.jsonl").write_bytes(encode(lines))

    def _events(self, run: RunDir) -> list[Event]:
        """What the last worker wrote."""
        label = f"work-{run.read_launches()[-1].number}-0"
        reader = JournalReader(run.journal, Event)
        return [event for name, event in reader.read() if name.rpartition("-")[0] == label]

    def _command(self, *args: str) -> Cost:
        started_at = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "hpcpipe", *args],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, 4), said.decode()
        return Cost(time.time() - started_at, _peak_mb(used), started_at)

    def _note(self, name: str, cost: Cost) -> None:
        self.found[f"{name}, s"] = cost.seconds
        self.found[f"{name}, MB"] = cost.peak_mb


def _peak_mb(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / 1024


def num_operations(trace: Path, run_dir: Path) -> int:
    """Count what was asked of a run directory for the sake of shards: claims, journal, STOP."""
    pattern = re.compile(rf"{re.escape(str(run_dir))}/(?:claims[-\d]*/|STOP|journal/work)")
    return sum(
        bool(pattern.search(line)) and "AT_EMPTY_PATH" not in line
        for line in trace.read_text().splitlines()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    args = parser.parse_args()
    folder = args.folder.resolve()
    columns = {}
    try:
        for number in args.shards:
            columns[number] = Scale(folder, number).run()
            shutil.rmtree(folder / "runs")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{'':42}" + "".join(f"{number:>12,}" for number in columns) + "  goal")
    for name in next(iter(columns.values())):
        cells = "".join(f"{found[name]:>12,.2f}" for found in columns.values())
        print(f"{name:42}{cells}  {GOALS.get(name, '')}")


if __name__ == "__main__":
    main()
