"""Runs of toy shards on a real SLURM to which something is then done."""

import os
import sys
from pathlib import Path

from hpcpipe.config import Config
from hpcpipe.launch.start import start
from hpcpipe.manifest.heartbeat import Beat, read_beat
from hpcpipe.manifest.rundir import RunDir
from tests.slurm.cluster import Cluster
from tests.toys.runs import events_of, parts_left, state_of, toy_config, write_inputs

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "sbatch" / "worker.sbatch"
CALM = {
    "run__lease_s": 30.0,
    "run__heartbeat_s": 0.5,
    "run__linger_s": 60.0,
    "resources__cpus": 1,
    "resources__mem_gb": 0.5,
    "launcher__array_size": 1,
}
"""Waits that a loaded machine does not upset, and one small worker."""


class Scene:
    """One run and its array.

    Attributes:
        run_dir: its run directory.
        job: its array, or its job.
    """

    def __init__(self, cluster: Cluster, folder: Path, **texts: str) -> None:
        """Write the inputs; nothing is submitted."""
        folder.mkdir()
        self.cluster, self.folder, self.texts = cluster, folder, texts
        self.job = ""
        write_inputs(folder, **texts)

    def submit(self, launcher: str = "slurm", *options: str, **values: object) -> "Scene":
        """Submit as ``launcher=slurm`` or ``script`` does, or by the template (``sbatch``)."""
        self.config = self._config("script" if launcher == "sbatch" else launcher, **values)
        self.run_dir = Path(self.config.run_dir)
        start(self.config, "submit")
        if launcher == "slurm":
            self.job = RunDir(self.run_dir).read_launches()[-1].array_job
        elif launcher == "script":
            self.job = self.cluster.sbatch(*options, f"{self.run_dir}/submit.sbatch")
        else:
            path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
            small = ("--array=0", "--mem=500M", "--cpus-per-task=1", f"--chdir={self.folder}")
            self.job = self.cluster.sbatch(
                f"--export=ALL,{path}", *small, *options, str(WORKER), str(self.run_dir)
            )
        return self

    def _config(self, launcher: str, **values: object) -> Config:
        values = {**CALM, "paths__code": str(ROOT), **values}
        return toy_config(self.folder, launcher=launcher, **values)

    @property
    def task(self) -> str:
        """The first task, as SLURM's commands call it."""
        return next(iter(self.cluster.states(self.job)))

    def beats(self) -> list[Beat]:
        found = map(read_beat, self.run_dir.glob("workers/*.beat"))
        return [beat for beat in found if beat is not None]

    def is_at(self, *shards: str) -> bool:
        """Whether workers are at these shards now."""
        return set(shards) <= {beat.shard for beat in self.beats()}

    def owner(self, shard: str) -> str:
        """The label of the worker at a shard."""
        for path in self.run_dir.glob("workers/*.beat"):
            beat = read_beat(path)
            if beat is not None and beat.shard == shard:
                return path.stem.rpartition("-")[0]
        raise AssertionError(f"nobody is at {shard}")

    def notes(self) -> list[str]:
        """What workers that ended say of it, without those that ended plainly."""
        return sorted(beat.note for beat in self.beats() if beat.note)

    def ended(self) -> list[str]:
        """States of its tasks, once they have all ended."""
        ended = self.cluster.wait_for(self.job, timeout_s=240)
        return [state for _, state in sorted(ended.items())]

    def end_in(self, seconds: int, task: str = "") -> None:
        """Move the time limit of a running task."""
        self.cluster.scontrol("update", f"jobid={task or self.task}", f"EndTime=now+{seconds}")

    def launch_again(self) -> None:
        """Let one more array finish the run."""
        start(self._config("slurm"), "submit")
        self.job = RunDir(self.run_dir).read_launches()[-1].array_job
        assert self.ended() == ["COMPLETED"]

    def num(self, kind: str, shard: str = "") -> int:
        return len([e for e in events_of(self.run_dir, kind) if not shard or e.shard == shard])

    def logs(self) -> list[str]:
        """Endings of its workers' log names after the array's number."""
        return sorted(path.stem.partition("_")[2] for path in self.run_dir.glob("logs/*_*.log"))

    def check_result(self) -> None:
        """Every shard is done once, with the bytes of a run that nothing was done to."""
        counts = state_of(self.run_dir, self.config).counts()
        assert counts == {"done": len(self.texts), "pending": 0, "quarantined": 0}
        assert self.num("done") == len(self.texts)
        made = {path.stem: path.read_text() for path in (self.run_dir / "out").glob("*.out")}
        assert made == {name: f"hello {text.upper()}" for name, text in self.texts.items()}
        assert parts_left(self.run_dir) == []
        assert list(self.run_dir.glob("partial/*/*")) == []
