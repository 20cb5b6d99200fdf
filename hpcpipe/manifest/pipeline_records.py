"""What a pipeline directory holds: steps, submissions, and what became of plan jobs."""

from pathlib import Path

import msgspec

from hpcpipe.manifest.marker import read_marker
from hpcpipe.manifest.rundir import RunDir, is_run_dir


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
