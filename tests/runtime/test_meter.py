"""What workers say they were given and have used, and what is counted for a shard."""

import os
import time
from dataclasses import dataclass
from typing import Any

import pytest

from hpcpipe.config import Resources
from hpcpipe.manifest.journal import FINALIZE
from hpcpipe.manifest.rundir import Launch
from hpcpipe.runtime.meter import Meter, given_to_worker
from hpcpipe.stage import ShardContext
from tests.toys.runs import events_of, run_here, toy_config, write_inputs
from tests.toys.toy import Final

TARGET = "tests.runtime.test_meter.Counting"
NUM_CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Counting(Final):
    """Says what its input's words say: ``read 5 read 7 progress 2 outputs 3``."""

    def process(self, shard: Any, ctx: ShardContext, state: Any) -> None:
        with open(shard.inputs[0].path) as file:
            words = file.read().split()
        for what, number in zip(words[::2], map(int, words[1::2]), strict=True):
            if what == "read":
                ctx.count_read(number)
            elif what == "progress":
                ctx.progress(number)
            else:
                for copy in range(2):
                    ctx.output(f"{shard.id}.{copy}").num_samples = number

    def planned_outputs(self, shard: Any) -> tuple[str, ...]:
        return ()

    def finalize(self, ctx: Any) -> None:
        ctx.progress(100)
        ctx.count_read(11)


def test_one_rule_says_what_a_shard_read_and_how_many_samples_it_had(tmp_path):
    write_inputs(
        tmp_path,
        said="read 5 progress 1 outputs 9 read 7 progress 2",
        outputs="outputs 3",
        nothing="",
        zero="progress 0 read 0 outputs 3",
    )
    assert run_here(toy_config(tmp_path, "final", stage___target_=TARGET)).exit_code == 0
    found = {
        e.shard: (e.num_samples, e.bytes_in) for e in events_of(tmp_path_run(tmp_path), "done")
    }
    assert found == {
        "said": (2, 12),
        "outputs": (6, len("outputs 3")),
        "nothing": (0, 0),
        "zero": (0, 0),
        FINALIZE: (0, 11),
    }


def tmp_path_run(tmp_path):
    (run_dir,) = (tmp_path / "runs" / "final").iterdir()
    return run_dir


def launch_of(kind, num_workers):
    return Launch(number=1, kind=kind, num_workers=num_workers)


def resources(cpus, gpus=0):
    return Resources(cpus=cpus, gpus=gpus, mem_gb=None, time_min=5)


@pytest.mark.parametrize(
    ("env", "given"),
    [
        ({}, (2, 1)),
        ({"SLURM_CPUS_ON_NODE": "8"}, (8, 1)),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_TASKS_PER_NODE": "4"}, (8, 1)),  # the batch process
        (
            {
                "SLURM_CPUS_ON_NODE": "8",
                "SLURM_STEP_NUM_TASKS": "8",
                "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
            },
            (2, 1),
        ),
        (
            {
                "SLURM_CPUS_ON_NODE": "6",
                "SLURM_GPUS_ON_NODE": "2",
                "SLURM_STEP_NUM_TASKS": "4",
                "SLURM_STEP_TASKS_PER_NODE": "4",
            },
            (1.5, 0.5),
        ),
    ],
)
def test_in_a_slurm_job_a_worker_has_its_tasks_part_of_what_slurm_gave(monkeypatch, env, given):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert given_to_worker(launch_of("slurm", 9), resources(2, 1)) == given


def test_elsewhere_it_has_what_was_asked_for_and_no_more_than_its_part_of_the_machine(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert given_to_worker(launch_of("here", 1), resources(1)) == (1, 0)
    assert given_to_worker(launch_of("here", 1), resources(4096, 1)) == (NUM_CORES, 1)
    assert given_to_worker(launch_of("local", 4), resources(4096)) == (NUM_CORES / 4, 0)


def test_a_meter_tells_busy_from_idle_and_computing_from_sleeping():
    meter = Meter()
    meter.begin_shard()
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass
    during = meter.used()
    meter.end_shard()
    time.sleep(0.3)
    used = meter.used()
    assert during.busy_s >= 0.3
    assert used.busy_s >= during.busy_s
    assert used.wall_s >= used.busy_s + 0.3
    assert used.cpu_s >= 0.3
    assert used.cpu_s - during.cpu_s < 0.3


def test_a_process_of_its_own_counts_from_its_beginning():
    part, whole = Meter().used(), Meter(whole_process=True).used()
    assert part.cpu_s <= 0.2
    assert whole.cpu_s >= time.process_time() - 0.2
    assert whole.wall_s >= whole.cpu_s / NUM_CORES
