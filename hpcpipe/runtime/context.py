"""What a stage is handed while it works: the contexts of ``hpcpipe.stage``, made real."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hpcpipe.console import visible
from hpcpipe.errors import ConfigError
from hpcpipe.manifest.files import printable
from hpcpipe.runtime.outputs import OutputFolder
from hpcpipe.runtime.partial import Partials
from hpcpipe.runtime.results import check_outputs
from hpcpipe.runtime.staged_file import StagedFile
from hpcpipe.stage import OutputFile, Shard, ShardResult

MAX_REMARK_CHARS = 200


def artifact_path(folder: Path, name: str) -> Path:
    """Path of an artifact.

    Args:
        folder: ``RUN_DIR/artifacts``.
        name: a plain file name.

    Returns:
        The path.

    Raises:
        ConfigError: the name is no plain file name.
    """
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise ConfigError(f"artifact name {name!r}: it must be a plain, visible file name")
    return folder / name


def shard_seed(shard_id: str) -> int:
    """Seed of a shard: the first 8 bytes of the SHA-256 of its id. Raises nothing."""
    return int.from_bytes(hashlib.sha256(shard_id.encode()).digest()[:8], "big")


class SetupContext:
    """What `Stage.setup` is handed.

    Attributes:
        device: device this worker is to use.
        scratch: node-local folder of this worker.
        exit_stack: closed when the worker ends.
    """

    def __init__(self, device: str, scratch: Path, artifacts: Path, exit_stack: ExitStack) -> None:
        """Hold what is given. Raises nothing."""
        self.device = device
        self.scratch = scratch
        self.exit_stack = exit_stack
        self._artifacts = artifacts

    def artifact(self, name: str) -> Path:
        """Path of a file that plan wrote. Raises ConfigError for a name that is no file name."""
        return artifact_path(self._artifacts, name)


class ShardContext:
    """What `Stage.process` is handed; collects the outputs and counters of one attempt.

    Attributes:
        attempt: number of this attempt, from 1.
        seed: depends on the shard id only.
        stats: counters so far.
        planned: the shard as planned; None for the last step of a run.
        num_samples: samples said to be done; None while nothing was said.
        num_read: bytes of input said to be read; None while nothing was said.
        remarked: what the stage says to people, fit to be shown.
        partials: the shard's saved progress.
        progress_at: monotonic time of the last sign of progress, in seconds.
    """

    def __init__(
        self,
        shard_id: str,
        attempt: int,
        folder: OutputFolder,
        scratch_root: Path,
        artifacts: Path,
        partials: Partials,
        should_stop: Callable[[], bool],
    ) -> None:
        """Begin an attempt.

        Args:
            shard_id: the shard.
            attempt: its number.
            folder: where outputs go.
            scratch_root: node-local folder of the worker.
            artifacts: ``RUN_DIR/artifacts``.
            partials: the shard's saved progress.
            should_stop: whether the worker was told to stop.

        Raises:
            Nothing.
        """
        self.attempt = attempt
        self.seed = shard_seed(shard_id)
        self.stats: dict[str, int | float] = {}
        self.planned: Shard | None = None
        self.num_samples: int | None = None
        self.num_read: int | None = None
        self.remarked = ""
        self.progress_at = time.monotonic()
        self._folder = folder
        self._files: dict[str, StagedFile] = {}
        self._scratch_root = scratch_root
        self._scratch: Path | None = None
        self._artifacts = artifacts
        self._should_stop = should_stop
        self.partials = partials

    @property
    def should_stop(self) -> bool:
        """True once the worker was told to stop."""
        return self._should_stop()

    @property
    def scratch(self) -> Path:
        """A node-local folder of this attempt, made when first asked for. Raises OSError."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="shard-", dir=self._scratch_root))
        return self._scratch

    @property
    def partial(self) -> Path:
        """A folder of this attempt that outlives it, made when first asked for. Raises OSError."""
        return self.partials.own()

    @property
    def previous_partial(self) -> Path | None:
        """What an earlier attempt has saved, to be read only. Raises OSError."""
        return self.partials.previous()

    def previous_output(self, output: OutputFile) -> str | None:
        """Find an output from when the shard was done before; see `hpcpipe.stage.ShardContext`.

        Args:
            output: as it was recorded then.

        Returns:
            Its path or URL; None where it is gone or not as it was.

        Raises:
            OutageError: its store is down.
            OSError: it cannot be read.
        """
        result = ShardResult("", (output,))
        is_other = any(check_outputs(self._folder, (result,), deep=True))
        return None if is_other else self._folder.open_path(output.path)

    def output(self, name: str) -> StagedFile:
        """Open a staged output.

        Args:
            name: final path relative to the output folder.

        Returns:
            The file to write to.

        Raises:
            ConfigError: the name leaves the output folder, or was opened already.
            OSError: it cannot be created.
        """
        if name in self._files:
            raise ConfigError(f"output {name!r} was opened twice by one shard")
        scratch = self.scratch if self._folder.remote else self._scratch_root
        self._files[name] = self._folder.stage(name, self.attempt, scratch)
        return self._files[name]

    def count(self, name: str, number: int | float = 1) -> None:
        """Add to a counter that is summed over the run. Raises nothing."""
        self.stats[name] = self.stats.get(name, 0) + number

    def progress(self, num_samples: int) -> None:
        """Say how many samples of this shard are done. Raises nothing."""
        self.num_samples = int(num_samples)
        self.progress_at = time.monotonic()

    def count_read(self, num_bytes: int) -> None:
        """Add bytes of input that were read. Raises nothing."""
        self.num_read = (self.num_read or 0) + int(num_bytes)

    def remark(self, text: str) -> None:
        """Say something to people who look at `status`. Raises nothing."""
        line = visible(printable(" ".join(text[: 2 * MAX_REMARK_CHARS].split())))
        self.remarked = line[:MAX_REMARK_CHARS]

    def bytes_in(self) -> int:
        """Bytes of input read, by the rule in `Outcome`. Raises nothing."""
        if self.num_read is not None or self.planned is None:
            return self.num_read or 0
        return sum([item.size_bytes for item in self.planned.inputs])

    def samples_done(self, outputs: tuple[OutputFile, ...]) -> int:
        """Samples in the shard, by the rule in `Outcome`.

        Args:
            outputs: its finished outputs.

        Returns:
            Their number.

        Raises:
            Nothing.
        """
        if self.planned is None:
            return 0
        if self.num_samples is not None:
            return self.num_samples
        said = [file.num_samples for file in outputs if file.num_samples is not None]
        return sum(said) if said else self.planned.num_samples or 0

    def artifact(self, name: str) -> Path:
        """Path of a file that plan wrote. Raises ConfigError for a name that is no file name."""
        return artifact_path(self._artifacts, name)

    def commit(self, fence: Callable[[], None]) -> tuple[OutputFile, ...]:
        """Publish all outputs.

        Args:
            fence: raises where the attempt is not ours any more.

        Returns:
            The records for the manifest.

        Raises:
            OutageError: the output folder is gone, or its store is down.
            OSError: an output cannot be made durable or be renamed.
            TransientShardError: a remote output did not arrive whole.
        """
        files = list(self._files.values())
        self._folder.publish(files, fence)
        return tuple(file.record() for file in files)

    def discard(self) -> None:
        """Remove what is left of the attempt: temporary files and scratch. Raises OSError."""
        for file in self._files.values():
            file.close(sync=False)
            file.temp.unlink(missing_ok=True)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
