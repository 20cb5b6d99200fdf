"""What a stage is handed to list its shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hpcpipe.stage.records import Input, OutputFile, Shard, ShardResult


class PlanContext(Protocol):
    """What `Stage.plan` is handed."""

    def list_inputs(self, location: str | list[str], suffixes: tuple[str, ...] = ()) -> list[Input]:
        """List input files in a fixed order.

        Args:
            location: paths, folders, globs (``*``, ``?``, ``[]``, ``{a,b}``, ``{000..127}``) or
                fsspec URLs; several may be given. A folder means its files (not recursive)
                with one of `suffixes`. A folder that a run of ours made is listed from that
                run's manifest.
            suffixes: accepted endings for folders, e.g. ``(".tar", ".tar.gz")``.

        Raises:
            PlanError: a location matches nothing, or cannot be read.
            UpstreamIncompleteError: the folder's run is not complete.
        """

    def recorded(self, folder: str) -> frozenset[str] | None:
        """Tell what runs of ours made in a folder, for stages that look into one by themselves.

        Args:
            folder: absolute path or URL.

        Returns:
            Paths of the outputs below it, relative to it; of failed shards there are none. None
            where no run made it, and for URLs: what lies there is what there is.

        Raises:
            UpstreamIncompleteError: the run that makes it is not complete.
        """

    def remark(self, text: str) -> None:
        """Say something of the plan to people: at the launch, and in `status` from then on.

        One line; one that begins with ``warning: `` is told as such. Raises nothing.
        """

    def artifact(self, name: str) -> Path:
        """Path of a file for plan to write. Raises ConfigError for a name that is no file name."""

    def planned(self) -> Iterator[Shard]:
        """The shards the run has already, in order; none when it is made.

        With ``extend=true``, what plan gives is compared with these by id: equal ones stay as they
        are, others are done again. A stage that numbers its shards looks here which numbers are
        taken. Raises nothing.
        """

    def planned_artifact(self, name: str) -> Path | None:
        """Path of a file that an earlier plan of the run wrote, to be read; None for no such file.

        It stays as it is, whatever a later plan writes under that name. Raises ConfigError for a
        name that is no file name.
        """


class RetryContext(PlanContext, Protocol):
    """What `Stage.plan_retries` is handed: a plan context that sees what was made."""

    def results(self) -> Iterator[ShardResult]:
        """The results of finished shards, in no particular order. Raises OSError."""

    def open_path(self, output: OutputFile) -> str:
        """Absolute path or URL of a finished output. Raises nothing."""
