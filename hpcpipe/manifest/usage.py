"""What one worker was given, has used and does of late, as its heartbeat says it."""

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker was given and what it made of it, up to one moment.

    Attributes:
        cpus: cores it was given; a fraction where workers share a machine.
        gpus: GPUs it was given, likewise.
        wall_s: seconds since its process began, by one clock of its own machine.
        cpu_s: processor seconds, user and system, of its process and of ended child processes.
        busy_s: seconds inside shards, failed attempts included; the rest is start-up, claiming
            and waiting.
        num_done: shards it finished.
        num_failed: attempts of it that failed.
        num_samples: samples of the shards it finished.
        bytes_in: input bytes it read for the shards it finished.
        bytes_out: bytes of their outputs.
    """

    cpus: float = 0.0
    gpus: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    busy_s: float = 0.0
    num_done: int = 0
    num_failed: int = 0
    num_samples: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Pace(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker's stage said inside shards in the last two minutes, whatever became of them.

    Attributes:
        seconds: the time that was looked at; less than two minutes for a worker just begun.
        num_samples: samples made in it.
        num_unmade: samples in it that failed or were left out.
        bytes_in: bytes of input read in it.
    """

    seconds: float = 0.0
    num_samples: int = 0
    num_unmade: int = 0
    bytes_in: int = 0
