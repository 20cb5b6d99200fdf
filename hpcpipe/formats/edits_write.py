"""Edits of one shard, written: one tar, or a folder of loose files. ``edits`` reads both."""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Mapping
from typing import Literal

from hpcpipe.formats.sample_writers import OpenOutput
from hpcpipe.formats.samples import split_key
from hpcpipe.formats.tar_write import add_file, end_of_archive

EditsFormat = Literal["tar", "files"]


class EditsWriter(ABC):
    """Writes the edits of one shard."""

    @abstractmethod
    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write the files of a sample.

        Args:
            key: its key; `is_plain_key` says which can be written.
            files: contents by extension.

        Raises:
            OSError: writing failed.
        """

    @abstractmethod
    def finish(self, num_samples: int) -> None:
        """Write what comes behind the last sample.

        Args:
            num_samples: how many were added.

        Raises:
            OSError: writing failed.
        """


class TarEdits(EditsWriter):
    """Writes ``SHARD.tar``, also where nothing is added."""

    def __init__(self, open_output: OpenOutput, shard: str) -> None:
        """Open the tar. Raises OSError."""
        self._output = open_output(f"{shard}.tar")

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write a sample's members. Raises OSError."""
        for extension, content in files.items():
            add_file(self._output, f"{key}.{extension}", content)

    def finish(self, num_samples: int) -> None:
        """End the archive. Raises OSError."""
        self._output.write(end_of_archive(self._output.tell()))
        self._output.num_samples = num_samples


class LooseEdits(EditsWriter):
    """Writes ``SHARD/KEY.EXTENSION``."""

    def __init__(self, open_output: OpenOutput, shard: str) -> None:
        """Open nothing yet. Raises nothing."""
        self._open_output = open_output
        self._shard = shard

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write a sample's files. Raises OSError."""
        for extension, content in files.items():
            output = self._open_output(loose_name(self._shard, key, extension))
            output.write(content)
            output.finish()

    def finish(self, num_samples: int) -> None:
        """Write nothing more. Raises nothing."""


EDITS_WRITERS: dict[EditsFormat, type[TarEdits] | type[LooseEdits]] = {
    "tar": TarEdits,
    "files": LooseEdits,
}


class LooseNames:
    """The names of one shard's loose files, so that none is a file and a folder at once."""

    def __init__(self) -> None:
        """Begin without any. Raises nothing."""
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, key: str, extensions: Iterable[str]) -> bool:
        """Take the names of a sample's files.

        Args:
            key: its key.
            extensions: of its files.

        Returns:
            False where one is a folder of a sample that came before, or the other way round.

        Raises:
            Nothing.
        """
        name = key.removeprefix("./")
        files = {f"{name}.{extension}" for extension in extensions}
        folders = {name[:end] for end, char in enumerate(name) if char == "/"}
        if files & self._folders or folders & self._files:
            return False
        self._files |= files
        self._folders |= folders
        return True


def loose_name(shard: str, key: str, extension: str) -> str:
    """Name a loose file of a sample, below the folder of all edits. Raises nothing."""
    return f"{shard}/{key.removeprefix('./')}.{extension}"


def shard_above(path: str, ids: Container[str]) -> str | None:
    """Find a shard whose loose edits may lie at a path that is not its own.

    With shards ``a`` and ``a/b``, ``a/b/c.jpg`` may be of either: loose edits need names of
    shards none of which is a folder above another.

    Args:
        path: a shard, or what lies below the folder of all edits.
        ids: the shards.

    Returns:
        The nearest one above the path; None where there is none.

    Raises:
        Nothing.
    """
    while path := path.rpartition("/")[0]:
        if path in ids:
            return path
    return None


def is_plain_key(key: str) -> bool:
    """Tell whether a key can be the name of files without their extension.

    Args:
        key: a key from a file that anybody may have written.

    Returns:
        False for what would leave the shard's folder, be hidden, or read as another key.

    Raises:
        Nothing.
    """
    parts = key.removeprefix("./").split("/")  # names in tars made of "." begin so
    return (
        key.isprintable()
        and len(key.encode("utf-8", "replace")) <= 200
        and all(part and not part.startswith(".") for part in parts)
        and split_key(f"{key}.jpg") == (key, "jpg")
    )
