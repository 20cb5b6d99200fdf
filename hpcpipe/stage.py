"""The whole contract a stage author reads: what a stage is, and what it is handed.

A stage is one frozen dataclass whose fields are its typed options, and one YAML file
``conf/stage/NAME.yaml`` that holds their values, their comments and the class's path
(``_target_``). The framework lists, claims, retries, stages and records; a stage says how the
shards are listed (`Stage.plan`) and what is done to one (`Stage.process`).

This file holds no behaviour of the framework; that is in ``hpcpipe.runtime``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec

PATH = "hpcpipe:path"
MODEL = "hpcpipe:model"
TUNING = "hpcpipe:tuning"

Location = Annotated[str, PATH]
"""An option that is a path, a glob or an fsspec URL; relative paths are made absolute."""

ModelName = Annotated[str, MODEL]
"""An option that names a model: ``org/name`` on the Hugging Face Hub, or a folder.

A folder begins with ``/``, ``./``, ``../`` or ``~``, and is made absolute; nothing else is looked
up on the disk, so the same words mean the same model in any folder.
"""

TuningInt = Annotated[int, TUNING]
"""An option that changes speed and never the result: it stays out of the fingerprint."""


class Input(msgspec.Struct, frozen=True, array_like=True):
    """One input file as it was when the plan was made.

    Attributes:
        path: absolute path or fsspec URL.
        size_bytes: its size then.
        version: modification time in nanoseconds, or the store's ETag; "" where unknown.
    """

    path: str
    size_bytes: int
    version: str = ""


class Shard(msgspec.Struct, frozen=True, omit_defaults=True):
    """The unit of claim, retry and done: one tar or one range.

    Attributes:
        id: unique in the plan; relative path without suffix for file shards. It becomes part of
            file names: no empty, absolute, ``.`` or ``..`` components, no control characters.
        inputs: the files it reads; a change in size or version after planning is refused.
        num_samples: samples in it, where known.
        num_bytes: bytes it reads, where known; larger shards are started first.
        meta: whatever the stage needs to do it (JSON types only).
    """

    id: str
    inputs: tuple[Input, ...] = ()
    num_samples: int | None = None
    num_bytes: int | None = None
    meta: dict[str, Any] = {}


class Model(msgspec.Struct, frozen=True):
    """A model that workers load, as `Stage.models` names it.

    Attributes:
        name: ``org/name`` on the Hub, or an absolute folder.
        revision: branch, tag or commit on the Hub; None for its main branch.
        library: what loads it, and thus which of its files are needed: a pipeline of ``diffusers``
            (folders named in ``model_index.json``), or one model of ``transformers``.
    """

    name: str
    revision: str | None = None
    library: Literal["diffusers", "transformers"] = "transformers"


class OutputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finished output as the manifest records it.

    Attributes:
        path: relative to the run's output folder, with forward slashes.
        size_bytes: its size.
        checksum: ``algorithm:hexdigest`` of its content (``xxh3_128``, ``sha256``).
        num_samples: samples in it, where the stage said so.
    """

    path: str
    size_bytes: int
    checksum: str
    num_samples: int | None = None


class ShardResult(msgspec.Struct, frozen=True):
    """A finished shard: its outputs and counters.

    Attributes:
        shard_id: id of the shard.
        outputs: the files of the attempt that counts.
        stats: the counters the stage kept with `ShardContext.count`.
    """

    shard_id: str
    outputs: tuple[OutputFile, ...] = ()
    stats: dict[str, int | float] = {}


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
        """

    def remark(self, text: str) -> None:
        """Say something of this shard to people who look at `status`, instead of what was said.

        One line, cut after 200 characters; what is slow at the moment, for instance. One that
        begins with ``warning: `` is also shown to who follows the run. Raises nothing.
        """

    def artifact(self, name: str) -> Path:
        """Path of a file that plan wrote. Raises ConfigError for a name that is no file name."""


class FinalizeContext(ShardContext, Protocol):
    """What `Stage.finalize` is handed: a shard context over the whole run."""

    def shards(self) -> Iterator[Shard]:
        """The plan, in order. Raises nothing."""

    def result(self, shard_id: str) -> ShardResult | None:
        """The result of one shard; None for one that is quarantined. Raises KeyError."""

    def open_path(self, output: OutputFile) -> str:
        """Absolute path or URL of a finished output. Raises nothing."""


class Box(msgspec.Struct, frozen=True):
    """A box over a picture, by the picture as it is shown.

    Attributes:
        sides: left, top, right, bottom as parts of its width and height, 0 to 1.
        label: a word or a number beside it.
    """

    sides: tuple[float, float, float, float]
    label: str = ""


class Picture(msgspec.Struct, frozen=True):
    """One picture of a sample.

    Attributes:
        title: what it is, e.g. ``original``.
        content: the image file; None where it cannot be had.
        missing: why not.
        boxes: drawn over it.
    """

    title: str
    content: bytes | None
    missing: str = ""
    boxes: tuple[Box, ...] = ()


class Look(msgspec.Struct, frozen=True):
    """One sample as people look at it.

    Attributes:
        key: its key.
        pictures: side by side.
        texts: such as caption and prompt, side by side; a title and a text each.
        facts: in small print, e.g. the seed; None is left out.
    """

    key: str
    pictures: tuple[Picture, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    facts: dict[str, str | int | float | None] = {}


class LookContext(Protocol):
    """What `Stage.look` is handed for one finished shard."""

    random: Random
    """Chooses the samples; the same for the same sheet."""
    scratch: Path
    """An empty node-local folder, removed afterwards."""

    def output_path(self, name: str) -> str:
        """Absolute path or URL of an output. Raises ConfigError for one outside the folder."""


class ShardStopped(BaseException):
    """Raised inside `Stage.process` to give the shard back unfinished; it is not charged."""


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """One thing that is done to every shard.

    Subclasses are frozen, keyword-only dataclasses without default values: values live in the
    YAML alone. Checks across options belong in ``__post_init__`` and raise `ConfigError`.

    Attributes:
        input: what to read.
        output: folder to write to; None means ``out/`` in the run directory.
    """

    deterministic: ClassVar[bool] = True
    """False where two attempts may give different bytes (downloads, LLM, GPU)."""
    extendable: ClassVar[bool] = True
    """False where new inputs change every shard (a global plan), so ``extend=true`` is refused."""

    input: Location | list[Location]
    output: Location | None

    @abstractmethod
    def plan(self, ctx: PlanContext) -> Iterable[Shard]:
        """List the shards: the same ids in the same order for the same inputs, and cheaply.

        Raises:
            PlanError: there is nothing to do, or the inputs are at fault.
        """

    def plan_retries(self, ctx: RetryContext) -> Iterable[Shard]:
        """List shards that try again what failed inside finished ones (``retry_failed=true``).

        For stages whose shards are done even where single samples failed. Finished shards stay as
        they are, so ids and outputs must be new ones; what is tried again must be told from
        `RetryContext.planned` the next time.

        Args:
            ctx: the framework's help.

        Returns:
            The new shards; none where nothing is worth another try. A stage that has no such
            method is refused ``retry_failed=true``.

        Raises:
            PlanError: what is needed for it is gone.
        """
        return ()

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterable[Look]:
        """Show some samples of a finished shard, for the run's contact sheet.

        Read no more than it takes; say of single files that cannot be had that they are missing.

        Args:
            shard: the shard.
            ctx: the framework's help.
            num_samples: how many, at most; chosen by ``ctx.random`` from all.

        Returns:
            The samples. A stage that has no such method has no contact sheets.

        Raises:
            HpcPipeError: the shard's files cannot be read.
            OSError: the same.
        """
        return ()

    def planned_outputs(self, shard: Shard) -> Iterable[str]:
        """Name the files a shard will write, where that is known before it is done.

        A launch refuses names that exist already and belong to no run, and names that two
        shards share.

        Args:
            shard: a shard of the plan.

        Returns:
            Paths relative to the output folder; none by default.

        Raises:
            Nothing.
        """
        return ()

    def estimated_output_bytes(self, num_bytes: int) -> int | None:
        """Say about how many bytes are written for shards that read `num_bytes`.

        A launch refuses what does not fit. None where nobody can tell. Raises nothing.
        """
        return None

    def models(self) -> Iterable[Model]:
        """Name the models that workers load.

        A launch refuses to start where one of them is not there, and ``fetch-models`` downloads
        them: workers find them with ``hpcpipe.models.hub.find``, and never use the network.

        Returns:
            The models; none by default.

        Raises:
            Nothing.
        """
        return ()

    def setup(self, ctx: WorkerContext) -> Any:
        """Make what all shards of a worker share (models, open tables); runs once a worker.

        Raises:
            SetupError: this worker cannot work; it takes no shard.
        """
        return None

    @abstractmethod
    def process(self, shard: Shard, ctx: ShardContext, state: Any) -> None:
        """Do one shard, writing only through ``ctx.output``.

        Raises:
            BadInputError: the shard's data is at fault; it is quarantined.
            TransientShardError: worth another try.
            ShardStopped: the worker was told to stop.
        """

    def finalize(self, ctx: FinalizeContext) -> None:
        """Run once when all shards are done; may be run again, and must then do the same.

        Raises:
            BadInputError: the run's results are at fault.
        """
        return None
