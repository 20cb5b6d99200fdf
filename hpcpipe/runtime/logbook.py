"""``wandb.jsonl``: which shards were logged to Weights & Biases, and in which order.

A shard is written down before it is logged, so that a process that is killed and started again
gives each its step again; what was logged at a step is not taken twice. Knows nothing of figures.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hpcpipe.errors import ConfigError, naming
from hpcpipe.manifest.files import JSON_ERRORS, nonce, replace, write_all

FILE = "wandb.jsonl"


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run there (the first line), a shard, or that all before was sent."""

    id: str = ""
    project: str = ""
    shard: str = ""
    sent: bool = False


class Logbook:
    """The shards of a run that were logged.

    Attributes:
        run_id: id of the run on Weights & Biases.
        project: its project.
        shards: ids of those logged, by their steps from 0.
        num_sent: how many of them were surely sent.
    """

    def __init__(self, folder: Path, project: str) -> None:
        """Open it, or begin one.

        Args:
            folder: the run directory.
            project: for one in which no shard stands.

        Raises:
            ConfigError: the file is damaged.
            OSError: it cannot be read or written.
        """
        self._path = folder / FILE
        lines = self._read() if self._path.exists() else []
        if len(lines) < 2:
            lines = [_Line(id=f"{folder.name[:32]}-{nonce()}", project=project)]
            replace(self._path, msgspec.json.encode(lines[0]) + b"\n")
        self.run_id, self.project = lines[0].id, lines[0].project
        self.shards: list[str] = []
        self.num_sent = 0
        for line in lines[1:]:
            if line.sent:
                self.num_sent = len(self.shards)
            else:
                self.shards.append(line.shard)

    def _read(self) -> list[_Line]:
        data = self._path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.truncate(self._path, end)  # what a killed process did not finish was never logged
        try:
            lines = msgspec.json.Decoder(_Line).decode_lines(data[:end])
        except JSON_ERRORS as error:
            raise self._damaged() from error
        if not lines or not lines[0].id:
            raise self._damaged()
        return lines

    def _damaged(self) -> ConfigError:
        return ConfigError(
            f"{self._path} is damaged: remove it, and the run is logged anew, under another id"
        )

    def add(self, shards: Sequence[str]) -> None:
        """Write shards down, durably, that are then logged.

        Args:
            shards: their ids, in order.

        Raises:
            OSError: they cannot be written.
        """
        self._append([_Line(shard=shard) for shard in shards])
        self.shards += shards

    def sent(self) -> None:
        """Note that all shards were sent. Raises OSError."""
        if self.num_sent < len(self.shards):
            self._append([_Line(sent=True)])
            self.num_sent = len(self.shards)

    def _append(self, lines: Sequence[_Line]) -> None:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                write_all(fd, msgspec.json.Encoder().encode_lines(lines))
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise naming(error, self._path) from error
