"""The edits of one tar as an overlay uses them: members that lie ready, here, or new captions.

Which member an edit replaces is in ``_overlay_edits``; new captions are in ``_overlay_captions``.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hpcpipe.formats.captions import CAPTIONS_SUFFIX
from hpcpipe.formats.edit_origins import Edit, open_origin
from hpcpipe.formats.edits import Edits
from hpcpipe.formats.remote import is_remote
from hpcpipe.formats.samples import Sample, read_json
from hpcpipe.formats.source import Source
from hpcpipe.formats.tar import Member
from hpcpipe.stage import Shard, ShardContext
from hpcpipe.stages._overlay_captions import NewCaptions
from hpcpipe.stages._overlay_edits import is_equal_json
from hpcpipe.stages._overlay_write import TarCopy

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard


class ShardEdits(Protocol):
    """The edits of one tar, of whatever kind."""

    @property
    def path(self) -> str:
        """Path or URL of what they lie in."""

    @property
    def num_read(self) -> int:
        """Bytes of edits read so far."""

    def find(self, keys: Sequence[str]) -> list[dict[str, Edit] | None]:
        """For each key its edits by extension, or None; notes that there are such samples."""

    def real(self, sample: Sample, edits: dict[str, Edit]) -> dict[str, Edit]:
        """Of what was found for a sample, what changes it."""

    def put(self, copy: TarCopy, model: Member, name: str, edit: Edit) -> None:
        """Append a real edit to the new tar, its header like a model's."""

    def unmatched(self) -> list[str]:
        """What belongs to no sample that was looked up."""

    def close(self) -> None:
        """Close what is open."""


def open_edits(
    stage: "Reshard", shard: Shard, ctx: ShardContext, source: Source, counts: Counter[str]
) -> ShardEdits | None:
    """Open the edits of a shard.

    Args:
        stage: the options.
        shard: its second input is a tar, a folder or a file of captions; the third, if any, tells
            how these were made.
        ctx: has a place for copies of remote edits.
        source: the tar.
        counts: where edits that change nothing are counted.

    Returns:
        The edits; None where the shard has none.

    Raises:
        BadInputError: they are damaged.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
        OSError: reading failed.
    """
    paths = [item.path for item in shard.inputs[1:]]
    if not paths:
        return None
    if paths[0].endswith(CAPTIONS_SUFFIX):
        return NewCaptions(paths[0], paths[1] if len(paths) > 1 else None, source, counts)
    scratch = ctx.scratch if is_remote(paths[0]) else None
    return GivenEdits(Edits(open_origin(paths[0], scratch)), source, stage.lone_json, counts)


class GivenEdits:
    """Edits that lie ready, as members of a tar or as loose files."""

    def __init__(self, edits: Edits, source: Source, lone_json: str, counts: Counter[str]) -> None:
        """Take what is to be applied.

        Args:
            edits: what there is; closed with this object.
            source: the tar.
            lone_json: what to do with an edit that is only a json, ``ignore`` or ``apply``.
            counts: where edits that change nothing are counted.

        Raises:
            Nothing.
        """
        self._edits = edits
        self._source = source
        self._lone_json = lone_json
        self._counts = counts

    @property
    def path(self) -> str:
        """Path of the tar or folder."""
        return self._edits.path

    @property
    def num_read(self) -> int:
        """Bytes of edits read so far."""
        return self._edits.num_read

    def find(self, keys: Sequence[str]) -> list[dict[str, Edit] | None]:
        """Look up the edits of samples; an edit that is there twice raises BadInputError."""
        return self._edits.find(keys)

    def real(self, sample: Sample, edits: dict[str, Edit]) -> dict[str, Edit]:
        """Leave out a json that says what the sample's says, or that stands alone.

        Args:
            sample: the sample.
            edits: what `find` gave for it.

        Returns:
            The others.

        Raises:
            BadInputError: a json cannot be read.
            OSError: reading failed.
        """
        if "json" not in edits:
            return edits
        if "json" in sample.extensions and self._is_equal(sample, edits["json"]):
            self._counts["edits_equal"] += 1
        elif len(edits) == 1 and self._lone_json == "ignore":
            self._counts["edits_lone_json"] += 1
        else:
            return edits
        return {extension: edit for extension, edit in edits.items() if extension != "json"}

    def put(self, copy: TarCopy, model: Member, name: str, edit: Edit) -> None:
        """Append an edit to the new tar.

        Args:
            copy: the new tar.
            model: member that gives time, mode and format.
            name: full name.
            edit: which.

        Raises:
            BadInputError: it is gone, or ends too early.
            OSError: reading or writing failed.
        """
        fd, offset, size = self._edits.open(edit)
        try:
            copy.edited(model, name, fd, offset, size)
        finally:
            self._edits.release(fd)

    def unmatched(self) -> list[str]:
        """Tell what belongs to no sample that was looked up. Raises BadInputError and OSError."""
        return self._edits.unmatched()

    def close(self) -> None:
        """Close what is open. Raises OSError."""
        self._edits.close()

    def _is_equal(self, sample: Sample, edit: Edit) -> bool:
        member = sample.members[sample.extensions.index("json")]
        return is_equal_json(read_json(self._source, member), self._edits.read(edit))
