"""What a stage is handed to do its shards, and to show what it did."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Protocol

from hpcpipe.stage.records import OutputFile, Shard, ShardResult


class Output(Protocol):
    """A staged output file: written under a temporary name, published when the shard commits."""

    num_samples: int | None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes and add them to the checksum; returns their number. Raises OSError."""

    def copy_range(self, fd: int, offset_bytes: int, num_bytes: int) -> None:
        """Append a byte range of an open local file.

        Raises BadInputError where the file ends before the range does, and OSError.
        """

    def tell(self) -> int:
        """Number of bytes written so far. Raises nothing."""

    def finish(self) -> None:
        """Close its file now rather than with the shard, which thousands of outputs have to.

        Nothing can be written behind it. Raises OSError.
        """


class WorkerContext(Protocol):
    """What `Stage.setup` is handed, once per worker."""

    device: str
    """``cpu``, ``cuda`` or ``cuda:N``: the device this worker is to use."""
    scratch: Path
    """A node-local folder of this worker's own, removed when it ends."""
    exit_stack: ExitStack
    """What is entered here is closed when the worker ends: servers, pools, open files.

    In whatever way it ends, short of SIGKILL; what closing raises is logged.
    """

    def artifact(self, name: str) -> Path:
        """Path of a file that plan wrote. Raises ConfigError for a name that is no file name."""


class ShardContext(Protocol):
    """What `Stage.process` is handed for one shard."""

    attempt: int
    """Number of this attempt, from 1."""
    seed: int
    """Depends on the shard id only: the same in every attempt and on every worker."""

    @property
    def scratch(self) -> Path:
        """An empty node-local folder, removed after the shard. Raises OSError."""

    @property
    def should_stop(self) -> bool:
        """True once the worker has to end within seconds, or minutes at a time limit.

        Save what can be saved and raise `ShardStopped`. Draining a run does not set it.
        """

    @property
    def partial(self) -> Path:
        """A shared folder that outlives the attempt, for its progress. Raises OSError.

        Write under a name that begins with a dot, then rename: the worker may be killed at any
        time. It is removed once the shard is done, and not used after a reset.
        """

    @property
    def previous_partial(self) -> Path | None:
        """What an earlier attempt saved there (hidden files aside), to be read. Raises OSError."""

    def previous_output(self, output: OutputFile) -> str | None:
        """Find an output of this shard's from when it was done before, to be read.

        It is there until the new ones take its place; see `Stage.plan_retries`.

        Args:
            output: as it was recorded then.

        Returns:
            Its absolute path or URL; None where it is gone or not as it was.

        Raises:
            OutageError: its store is down.
            OSError: it cannot be read.
        """

    def output(self, name: str) -> Output:
        """Open a staged output.

        Args:
            name: final path relative to the output folder, forward slashes.

        Raises:
            ConfigError: the name leaves the output folder, or was opened already.
            OSError: it cannot be created.
        """

    def count(self, name: str, number: int | float = 1) -> None:
        """Add to a counter that is summed over the run; `status` shows it live. Raises nothing.

        Two kinds of names mean samples that were not made, by what kept them:
        ``failed_WHY.CLASS`` and ``left_out_WHY.CLASS``, such as ``failed_to_download.http_404``
        or ``left_out_by_their_owners.robots_txt`` (``_WHY`` may be missing). They are not among
        those of `progress`; `status` shows them by class, and the share of samples that were made.
        """

    def count_read(self, num_bytes: int) -> None:
        """Add bytes of input that were read or downloaded, for the run's accounting.

        A shard for which this is never called counts as having read its planned inputs whole:
        call it where only a part of them is read, or what is in no plan. Raises nothing.
        """

    def progress(self, num_samples: int) -> None:
        """Say how many samples of this shard are done; holds off ``shard_timeout_s``.

        The last number said is the shard's in the run's accounting: say it at the end, too. A
        stage that never does has the ``num_samples`` of its outputs counted, or the planned ones.
        Raises nothing.
        """

    def remark(self, text: str) -> None:
        """Say something of this shard to people who look at `status`, instead of what was said.

        One line, cut after 200 characters; what is slow at the moment, for instance. One that
        begins with ``warning: `` is also shown to who follows the run. Raises nothing.
        """

    def artifact(self, name: str) -> Path:
        """Path of a file that plan wrote. Raises ConfigError for a name that is no file name."""


class ShardStopped(BaseException):
    """Raised inside `Stage.process` to give the shard back unfinished; it is not charged."""


class FinalizeContext(ShardContext, Protocol):
    """What `Stage.finalize` is handed: a shard context over the whole run."""

    def shards(self) -> Iterator[Shard]:
        """The plan, in order. Raises nothing."""

    def result(self, shard_id: str) -> ShardResult | None:
        """The result of one shard; None for one that is quarantined. Raises KeyError."""

    def open_path(self, output: OutputFile) -> str:
        """Absolute path or URL of a finished output. Raises nothing."""


class LookContext(Protocol):
    """What `Stage.look` is handed for one finished shard."""

    random: Random
    """Chooses the samples; the same for the same sheet."""
    scratch: Path
    """An empty node-local folder, removed afterwards."""

    def output_path(self, name: str) -> str:
        """Absolute path or URL of an output. Raises ConfigError for one outside the folder."""
