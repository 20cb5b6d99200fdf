"""The pipeline directory: which steps there are, where their runs are, and what was submitted.

PIPELINE_DIR/
  pipeline.json     the steps, their run directories and output folders
  jobs/N.json       the Nth submission: a step's plan job and the array that waits for it
  jobs/N.yaml       the step's config, for the plan job
  plans/N.json      what became of that plan job, written by it
  submitit/N/       what submitit keeps of the jobs, and their output

What is done stands in the runs' own directories; nothing of it is repeated here.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.files import publish_new, replace, write_new
from hpcpipe.manifest.marker import read_marker
from hpcpipe.manifest.rundir import RunDir, is_run_dir

FORMAT_VERSION = 1
PIPELINE_FILE = "pipeline.json"

T = TypeVar("T")


class Step(msgspec.Struct, frozen=True):
    """One step of a pipeline.

    Attributes:
        name: its name in the pipeline.
        stage: stage name.
        fingerprint: identity of its run.
        run_dir: where its run is made unless the output folder has one already.
        output: absolute path or URL of its output folder.
        needs: names of the earlier steps whose output it reads.
    """

    name: str
    stage: str
    fingerprint: str
    run_dir: str
    output: str
    needs: tuple[str, ...]

    def find_run(self) -> RunDir | None:
        """Find the step's run, which is made when the step is planned.

        Returns:
            The run; None before that.

        Raises:
            RunMismatchError: it is damaged.
            OSError: it cannot be read.
        """
        paths = [Path(self.run_dir)]
        if not is_run_dir(paths[0]) and (marker := read_marker(self.output, self.stage)):
            paths.append(marker.run_path(self.output))
        runs = [RunDir(path) for path in paths if is_run_dir(path)]
        return next((run for run in runs if run.info.fingerprint == self.fingerprint), None)


class PipelineInfo(msgspec.Struct, frozen=True):
    """``pipeline.json``: what the pipeline is.

    Attributes:
        format_version: layout of the pipeline directory.
        name: its name (``pipeline=NAME``).
        fingerprint: identity of all its steps.
        created_at: Unix time in seconds.
        version: hpcpipe version that made it.
        steps: the steps in order.
    """

    format_version: int
    name: str
    fingerprint: str
    created_at: float
    version: str
    steps: tuple[Step, ...]


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """``jobs/N.json``: one submission of a step that waits for others.

    Attributes:
        number: N.
        step: the step.
        num_workers: workers of the array.
        after: job ids that the plan job waits for.
        plan_job: its job id, once known.
        array_job: array job id of the workers, which wait for the plan job, once known.
        user: who submitted it.
        cwd: where it was submitted.
        at: Unix time in seconds.
        command: arguments of the command that submitted it.
    """

    number: int
    step: str
    num_workers: int
    after: tuple[str, ...] = ()
    plan_job: str = ""
    array_job: str = ""
    user: str = ""
    cwd: str = ""
    at: float = 0.0
    command: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Job ids that are known."""
        return [job for job in (self.plan_job, self.array_job) if job]


class Planned(msgspec.Struct, frozen=True, omit_defaults=True):
    """``plans/N.json``: what became of a plan job.

    Attributes:
        run_dir: the step's run directory; empty where the plan was not made.
        launch: the launch of the run that the waiting array is.
        error: why the plan was not made.
        at: Unix time in seconds.
        host: where the job ran.
    """

    run_dir: str = ""
    launch: int = 0
    error: str = ""
    at: float = 0.0
    host: str = ""


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
            folder.mkdir(parents=True, exist_ok=True)
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
    except msgspec.DecodeError as error:
        raise RunMismatchError(f"{path} is damaged: {error}") from None
