"""New captions for the samples of one tar, from a file of captions: their txt and their json.

The json is the sample's own with another ``caption``; it keeps the one that the sample came with
as ``original_caption``, and tells in ``rewritten`` how the new one was made, where that is noted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hpcpipe.formats.captions import (
    decode_captions,
    decode_notes,
    one_line,
    read_captions_file,
)
from hpcpipe.formats.edit_origins import Edit
from hpcpipe.formats.json_records import read_record, strict_json
from hpcpipe.formats.samples import MAX_JSON_BYTES, Sample
from hpcpipe.formats.source import Source, open_source
from hpcpipe.formats.tar import Member
from hpcpipe.stages._overlay_write import TarCopy


class NewCaptions:
    """The new captions of one tar.

    Attributes:
        path: the file they stand in.
        num_read: bytes of it, and of the file of notes.
    """

    def __init__(self, path: str, notes: str | None, source: Source, counts: Counter[str]) -> None:
        """Read the captions, whole.

        Args:
            path: path or URL of ``SHARD.json``.
            notes: of ``SHARD.meta.jsonl``, where there is one.
            source: the tar.
            counts: where captions that change nothing are counted.

        Raises:
            BadInputError: a file is something else.
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: reading failed.
        """
        self.path = path
        self._source = source
        self._counts = counts
        with open_source(path) as file:
            self._captions = decode_captions(read_captions_file(file), path)
            self.num_read = file.num_read
        self._notes: dict[str, dict[str, Any]] = {}
        if notes is not None:
            with open_source(notes) as file:
                self._notes = decode_notes(read_captions_file(file), notes)
                self.num_read += file.num_read
        self._unmatched = dict.fromkeys(self._captions)

    def find(self, keys: Sequence[str]) -> list[dict[str, Edit] | None]:
        """Look up the captions of samples, and note that these samples exist.

        Args:
            keys: sample keys.

        Returns:
            For each key its caption as the edit of a ``txt``, or None where it has none.

        Raises:
            Nothing.
        """
        return [self._find(key) for key in keys]

    def real(self, sample: Sample, edits: dict[str, Edit]) -> dict[str, Edit]:
        """Make what takes the place of a sample's txt and json.

        Args:
            sample: the sample.
            edits: what `find` gave for it.

        Returns:
            A new txt and json by their extensions; of a sample that says the same already none, as
            for a caption that is empty, and no json where the sample's cannot be read.

        Raises:
            OutageError: a remote store is down.
            TransientShardError: it failed otherwise.
            OSError: reading failed.
        """
        caption = edits["txt"].content.decode()
        if not caption.strip():
            self._counts["edits_empty"] += 1
            return {}
        old_json, old_text = self._read(sample, "json"), self._read(sample, "txt")
        record = read_record(old_json) if old_json is not None else None
        text = old_text.decode(errors="replace") if old_text is not None else None
        said = [one for one in ((record or {}).get("caption"), text) if isinstance(one, str)]
        if said and all(one_line(one) == one_line(caption) for one in said):
            self._counts["edits_equal"] += 1
            return {}
        new_json = self._json(sample.key or "", record, caption, said)
        if new_json is not None:
            return edits | {"json": _edit(sample.key or "", "json", new_json)}
        if "json" in sample.extensions:
            self._counts["edits_malformed_json"] += 1
        return edits

    def put(self, copy: TarCopy, model: Member, name: str, edit: Edit) -> None:
        """Append a new txt or json to the new tar.

        Args:
            copy: the new tar.
            model: member that gives time, mode and format.
            name: full name.
            edit: one that `real` gave.

        Raises:
            BadInputError: the old tar ends too early.
            OSError: reading or writing failed.
        """
        copy.written(model, name, edit.content)

    def unmatched(self) -> list[str]:
        """Tell which captions belong to no sample that was looked up. Raises nothing."""
        return list(self._unmatched)

    def close(self) -> None:
        """Do nothing: nothing is open. Raises nothing."""

    def _find(self, key: str) -> dict[str, Edit] | None:
        name = self._name(key)
        if name is None:
            return None
        self._unmatched.pop(name, None)
        # A model may say half a character, which no text file can hold.
        return {"txt": _edit(key, "txt", self._captions[name].encode("utf-8", "replace"))}

    def _name(self, key: str) -> str | None:
        """What a key is called here; tars made of ``.`` have ``./`` in front of every name."""
        plain = key.removeprefix("./")
        return next((one for one in (key, plain, f"./{plain}") if one in self._captions), None)

    def _read(self, sample: Sample, extension: str) -> bytes | None:
        """A member of a sample; None where it has none, or one that is too large to be one."""
        if extension not in sample.extensions:
            return None
        member = sample.members[sample.extensions.index(extension)]
        if member.size > MAX_JSON_BYTES:
            return None
        return self._source.read_at(member.data, member.size)

    def _json(
        self, key: str, record: dict[str, Any] | None, caption: str, said: list[str]
    ) -> bytes | None:
        """A sample's json with its new caption; None where there is none to begin with."""
        if record is None:
            return None
        if said and record.get("original_caption") is None:
            record["original_caption"] = next(filter(str.strip, said), said[0])
        record["caption"] = caption
        record.pop("rewritten", None)  # it is of another caption
        if notes := self._notes.get(self._name(key) or ""):
            record["rewritten"] = notes
        try:
            return strict_json(record)
        except RecursionError:
            return None


def _edit(key: str, extension: str, content: bytes) -> Edit:
    return Edit(f"{key}.{extension}", extension, 0, len(content), content)
