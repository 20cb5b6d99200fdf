"""Measures what a worker was given and has used: cores, GPUs, time, bytes and samples.

A worker's time begins with its process, which in a SLURM job is the batch script's own: what the
job's set-up lines and Python's start take is in it. It ends with the last beat: what SLURM does
before the job, and the wait for its end after TERM, is not.
"""

import os
import resource
import time
from typing import NamedTuple

from hpcpipe.config import Resources
from hpcpipe.manifest.identity import slurm_number
from hpcpipe.manifest.journal import Event
from hpcpipe.manifest.rundir import Launch
from hpcpipe.manifest.usage import Usage
from hpcpipe.runtime.devices import place


class Given(NamedTuple):
    """What a worker may use; fractions where workers share it.

    Attributes:
        cpus: cores.
        gpus: GPUs.
    """

    cpus: float = 0.0
    gpus: float = 0.0


def given_to_worker(launch: Launch, resources: Resources) -> Given:
    """Tell what this worker was given.

    Args:
        launch: its launch.
        resources: what was asked for.

    Returns:
        In a SLURM job what SLURM gave it on this node, shared among the job's workers there, even
        where that is more than was asked for. Elsewhere what was asked for, and no more cores
        than its part of the machine.

    Raises:
        Nothing.
    """
    if "SLURM_JOB_ID" in os.environ and not launch.is_attended:
        return _given_by_slurm(resources)
    num_here = 1 if launch.kind == "spark" else max(launch.num_workers, 1)
    share = len(os.sched_getaffinity(0)) / num_here
    return Given(min(float(resources.cpus), share), float(resources.gpus))


def _given_by_slurm(resources: Resources) -> Given:
    num_workers = place().num_local
    cpus, gpus = slurm_number("CPUS_ON_NODE"), slurm_number("GPUS_ON_NODE")
    return Given(
        cpus / num_workers if cpus else float(resources.cpus),
        gpus / num_workers if gpus else float(resources.gpus),
    )


class Meter:
    """Adds up what one worker uses; read in other threads than it is written in.

    Attributes:
        num_done: shards finished.
        num_failed: attempts that failed.
    """

    def __init__(self, given: Given = Given(), *, whole_process: bool = False) -> None:  # noqa: B008
        """Start.

        Args:
            given: what the worker may use.
            whole_process: the process is this worker's alone, so that its time and use before
                now count.

        Raises:
            OSError: /proc cannot be read.
        """
        self._given = given
        self._began = time.monotonic()
        self._cpu_before_s = _cpu_s()
        if whole_process:
            self._began -= _process_age_s()
            self._cpu_before_s = 0.0
        self._busy: tuple[float, float | None] = (0.0, None)
        self.num_done = self.num_failed = 0
        self._num_samples = self._bytes_in = self._bytes_out = 0

    def begin_shard(self) -> None:
        """Count the time from now on as busy. Raises nothing."""
        self.end_shard()
        self._busy = (self._busy[0], time.monotonic())

    def end_shard(self) -> None:
        """Count no more time as busy. Raises nothing."""
        busy_s, since = self._busy
        if since is not None:
            self._busy = (busy_s + time.monotonic() - since, None)

    def add_done(self, event: Event) -> None:
        """Count a finished shard.

        Args:
            event: its ``done``.

        Raises:
            Nothing.
        """
        self.num_done += 1
        self._num_samples += event.num_samples
        self._bytes_in += event.bytes_in
        self._bytes_out += sum([file.size_bytes for file in event.outputs])

    def used(self) -> Usage:
        """What was used up to now. Raises nothing."""
        now = time.monotonic()
        busy_s, since = self._busy
        busy_s += now - since if since is not None else 0.0
        return Usage(
            cpus=round(self._given.cpus, 3),
            gpus=round(self._given.gpus, 3),
            wall_s=round(now - self._began, 3),
            cpu_s=round(_cpu_s() - self._cpu_before_s, 3),
            busy_s=round(busy_s, 3),
            num_done=self.num_done,
            num_failed=self.num_failed,
            num_samples=self._num_samples,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
        )


def _cpu_s() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def _process_age_s() -> float:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read()
    started_ticks = int(stat[stat.rindex(")") + 2 :].split()[19])
    booted_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(booted_s - started_ticks / os.sysconf("SC_CLK_TCK"), 0.0)
