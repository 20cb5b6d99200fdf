"""The pipeline directory: which steps there are, where their runs are, and what was submitted.

PIPELINE_DIR/
  pipeline.json     the steps, their run directories and output folders
  jobs/N.json       the Nth submission: a step's plan job and the array that waits for it
  jobs/N.yaml       the step's config, for the plan job
  plans/N.json      what became of that plan job, written by it
  launching.json    while somebody submits steps: who
  submitit/N/       what submitit keeps of the jobs, and their output

What is done stands in the runs' own directories; nothing of it is repeated here.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.files import FOLDER_MODE, JSON_ERRORS, publish_new, replace, write_new
from hpcpipe.manifest.pipeline_records import Job, PipelineInfo, Planned, Step

FORMAT_VERSION = 1
PIPELINE_FILE = "pipeline.json"

T = TypeVar("T")


class PipelineDir:
    """An existing pipeline directory."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Args:
            path: the pipeline directory.

        Raises:
            RunMismatchError: it is no pipeline directory, or of another version.
        """
        self.path = path.absolute()
        self.info = _decode(self.path / PIPELINE_FILE, PipelineInfo)
        if self.info.format_version != FORMAT_VERSION:
            raise RunMismatchError(
                f"pipeline directory {path} has format version {self.info.format_version}, this "
                f"hpcpipe reads version {FORMAT_VERSION}: use the version that made it"
            )
        self.jobs = self.path / "jobs"
        self.plans = self.path / "plans"
        self.submitit = self.path / "submitit"

    @classmethod
    def make(cls, path: Path, info: PipelineInfo) -> "PipelineDir":
        """Open a pipeline directory, making it where there is none.

        Args:
            path: the pipeline directory.
            info: what it is; where a step's run directory changed, this is what counts.

        Returns:
            The pipeline directory.

        Raises:
            RunMismatchError: it belongs to another pipeline, or is damaged.
            OSError: it cannot be written.
        """
        for folder in (path / "jobs", path / "plans"):
            path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            folder.mkdir(FOLDER_MODE, exist_ok=True)
        try:
            publish_new(path / PIPELINE_FILE, _pretty(info))
        except FileExistsError:
            there = cls(path).info
            if there.fingerprint != info.fingerprint:
                raise RunMismatchError(
                    f"{path} belongs to another pipeline: give another run_name"
                ) from None
            if there.steps != info.steps:
                replace(path / PIPELINE_FILE, _pretty(info))
        return cls(path)

    def step(self, name: str) -> Step:
        """Find a step by its name.

        Args:
            name: the name.

        Returns:
            The step.

        Raises:
            KeyError: there is no such step.
        """
        return {step.name: step for step in self.info.steps}[name]

    def read_jobs(self) -> list[Job]:
        """Read all submissions in order.

        Returns:
            The submissions.

        Raises:
            RunMismatchError: one is damaged.
            OSError: the folder cannot be read.
        """
        numbers = sorted(int(p.stem) for p in self.jobs.glob("*.json") if p.stem.isdecimal())
        return [self.read_job(number) for number in numbers]

    def read_job(self, number: int) -> Job:
        """Read one submission. Raises RunMismatchError, and OSError where there is none."""
        return _decode(self.jobs / f"{number}.json", Job)

    def add_job(self, job: Job, config_text: str) -> Job:
        """Record a submission under the next free number, with the config its plan job reads.

        Args:
            job: the submission; its number is ignored.
            config_text: the step's config as YAML.

        Returns:
            The submission with its number.

        Raises:
            RunMismatchError: an older one is damaged.
            OSError: it cannot be written.
        """
        while True:
            before = self.read_jobs()
            job = msgspec.structs.replace(job, number=before[-1].number + 1 if before else 1)
            try:
                publish_new(self.jobs / f"{job.number}.json", msgspec.json.encode(job))
            except FileExistsError:
                continue
            write_new(self.jobs / f"{job.number}.yaml", config_text.encode())
            return job

    def update_job(self, job: Job) -> None:
        """Rewrite a submission, e.g. once its job ids are known. Raises OSError."""
        replace(self.jobs / f"{job.number}.json", msgspec.json.encode(job))

    def remove_job(self, job: Job) -> None:
        """Forget a submission that never was. Raises OSError."""
        for suffix in ("yaml", "json"):
            (self.jobs / f"{job.number}.{suffix}").unlink(missing_ok=True)

    def read_plan(self, number: int) -> Planned | None:
        """Read what became of a plan job.

        Args:
            number: number of the submission.

        Returns:
            The outcome; None where there is none yet.

        Raises:
            RunMismatchError: it is damaged.
            OSError: it cannot be read.
        """
        path = self.plans / f"{number}.json"
        return _decode(path, Planned) if path.exists() else None

    def write_plan(self, number: int, planned: Planned) -> None:
        """Record what became of a plan job. Raises OSError."""
        replace(self.plans / f"{number}.json", msgspec.json.encode(planned))


def is_pipeline_dir(path: Path) -> bool:
    """Tell whether a folder is a pipeline directory. Raises nothing."""
    return (path / PIPELINE_FILE).is_file()


def _pretty(info: PipelineInfo) -> bytes:
    return msgspec.json.format(msgspec.json.encode(info)) + b"\n"


def _decode(path: Path, record: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=record)
    except FileNotFoundError:
        raise RunMismatchError(f"there is no {path}") from None
    except JSON_ERRORS as error:
        raise RunMismatchError(f"{path} is damaged: {error}") from None
