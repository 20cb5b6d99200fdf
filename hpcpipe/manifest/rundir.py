"""The run directory: opened by everybody, owned by one fingerprint; `new_rundir` makes it.

RUN_DIR/
  run.json          what the run is
  config.yaml       the resolved config; environment interpolations stay unresolved
  plan.jsonl        the shards (plan-0002.jsonl ...: added by ``extend=true``)
  sources.json      of a step: digests of what the steps above held when it was planned
  digest.json       of a run that a step reads: digest of what it made, kept until that changes
  artifacts/        files the plan wrote for the workers
  launching.json    while somebody submits workers: who
  launches/N.json   what was started, by whom, with which array ids
  claims/xx/B.N     attempt N on block B and, by its content, its owner; gone after the end
  journal/*.jsonl   what became of the attempts, one writer a file
  workers/*         identities and heartbeats
  snapshot.parquet  one row a shard: what the journals said when the run ended
  logs/*.log        one per worker, appended
  partial/xx/I.N    what attempt N on the shard of index I has saved of its progress
"""

import contextlib
import os
from pathlib import Path

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.formats.remote import is_remote
from hpcpipe.manifest.claims_folder import claims_folder
from hpcpipe.manifest.code import Code
from hpcpipe.manifest.files import JSON_ERRORS, publish_new, replace, write_new

FORMAT_VERSION = 1
RUN_FILE = "run.json"
FOLDERS = ("artifacts", "journal", "launches", "logs", "workers")


class RunInfo(msgspec.Struct, frozen=True):
    """``run.json``: what a run is; never changes.

    Attributes:
        format_version: layout of the run directory.
        stage: stage name as launched (``reshard``).
        target: import path of the stage's class.
        run_name: label.
        fingerprint: identity of stage and options.
        output: absolute path or URL of the output folder; in the file, ``out`` where it is in the
            run directory, and so moves with it.
        block_size: shards a claim.
        has_finalize: whether a last step follows the shards.
        created_at: Unix time in seconds.
        version: hpcpipe version that made it.
    """

    format_version: int
    stage: str
    target: str
    run_name: str
    fingerprint: str
    output: str
    block_size: int
    has_finalize: bool
    created_at: float
    version: str


class Launch(msgspec.Struct, frozen=True, omit_defaults=True):
    """``launches/N.json``: one start of workers.

    Attributes:
        number: N.
        kind: ``slurm``, ``local``, ``here``, ``spark``, ``script`` or ``work``.
        num_workers: workers started by it.
        first_index: index of its first worker among all workers of the run.
        array_job: SLURM array job id, once known.
        workers_per_job: workers that share one task of the array.
        max_jobs: tasks of the array that may run at a time; 0 for all.
        limit: only so many shards from the plan's start.
        cwd: where it was started.
        user: who started it.
        host: where it was started.
        pid: process that looks after local workers.
        at: Unix time in seconds.
        command: arguments of the command that started it; none where that was another program.
        code: what was run.
    """

    number: int
    kind: str
    num_workers: int
    first_index: int = 0
    array_job: str = ""
    workers_per_job: int = 1
    max_jobs: int = 0
    limit: int | None = None
    cwd: str = ""
    user: str = ""
    host: str = ""
    pid: int = 0
    at: float = 0.0
    command: tuple[str, ...] = ()
    code: Code = Code()

    @property
    def is_attended(self) -> bool:
        """Whether a command waits for its workers, which are no jobs of SLURM's."""
        return self.kind in ("here", "local", "spark")


class RunDir:
    """An existing run directory."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Args:
            path: the run directory.

        Raises:
            RunMismatchError: it is no run directory, or of a format this version cannot read.
        """
        self.path = path.absolute()
        self.info = _read_info(self.path)
        self.journal = self.path / "journal"
        self.workers = self.path / "workers"
        self.launches = self.path / "launches"
        self.logs = self.path / "logs"
        self.artifacts = self.path / "artifacts"

    @property
    def claims(self) -> Path:
        """The folder that claims are made in now; it does not exist while the run is closed."""
        return claims_folder(self.path)

    @property
    def stop_file(self) -> Path:
        """While this file exists, workers finish the shard at hand and claim no other."""
        return self.path / "STOP"

    def ask_to_stop(self) -> None:
        """Write the stop file, unless somebody else has. Raises OSError where that cannot be."""
        with contextlib.suppress(FileExistsError):
            write_new(self.stop_file, b"")

    def read_launches(self) -> list[Launch]:
        """Read all launches in order.

        Returns:
            The launches.

        Raises:
            RunMismatchError: one is damaged.
            OSError: the folder cannot be read.
        """
        return [_read_launch(path) for path in self._launch_files()]

    def read_launch(self, number: int) -> Launch:
        """Read one launch. Raises RunMismatchError, and OSError where there is none."""
        return _read_launch(self.launches / f"{number}.json")

    def _launch_files(self) -> list[Path]:
        paths = [p for p in self.launches.glob("*.json") if p.stem.isdecimal()]
        return sorted(paths, key=lambda path: int(path.stem))

    def add_launch(self, launch: Launch) -> Launch:
        """Record a launch under the next free number.

        Args:
            launch: the launch; its number is ignored.

        Returns:
            The launch with its number and the index of its first worker.

        Raises:
            RunMismatchError: an older one is damaged.
            OSError: it cannot be written.
        """
        while True:
            before = self.read_launches()
            # One whose record was removed has left other files under its number.
            names = {path.stem for path in self.launches.iterdir()}
            number = max((int(name) for name in names if name.isdecimal()), default=0) + 1
            first = before[-1].first_index + before[-1].num_workers if before else 0
            launch = msgspec.structs.replace(launch, number=number, first_index=first)
            try:
                publish_new(self.launches / f"{number}.json", msgspec.json.encode(launch))
            except FileExistsError:
                continue
            return launch

    def update_launch(self, launch: Launch) -> None:
        """Rewrite a launch, e.g. once its array id is known. Raises OSError."""
        replace(self.launches / f"{launch.number}.json", msgspec.json.encode(launch))


def is_run_dir(path: Path) -> bool:
    """Tell whether a folder is a run directory, of any version, to be read. Raises nothing."""
    return os.path.isfile(path / RUN_FILE)


def _read_launch(path: Path) -> Launch:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Launch)
    except JSON_ERRORS as error:
        raise RunMismatchError(
            f"{path} is damaged: {error}. Remove it once none of its workers is queued or running"
        ) from None


def _read_info(path: Path) -> RunInfo:
    try:
        data = (path / RUN_FILE).read_bytes()
    except FileNotFoundError:
        raise RunMismatchError(f"{path} is not a run directory: it has no run.json") from None
    except NotADirectoryError:
        raise RunMismatchError(f"{path} is not a run directory: it is a file") from None
    try:
        version = msgspec.json.decode(data).get("format_version")
        if version == FORMAT_VERSION:
            info = msgspec.json.decode(data, type=RunInfo)
            output = info.output if is_remote(info.output) else str(path / info.output)
            return msgspec.structs.replace(info, output=output)
    except (*JSON_ERRORS, AttributeError) as error:
        raise RunMismatchError(f"{path}/run.json is damaged: {error}") from None
    raise RunMismatchError(
        f"run directory {path} has format version {version}, this hpcpipe reads version "
        f"{FORMAT_VERSION}: finish it with the version that made it, or give another run_dir"
    )
