"""Claims: attempt N on block B belongs to whoever created the file ``claims/xx/B.N``.

A claim is a hard link to the worker's identity file, so it names its owner from the moment it
exists. Claims are never renamed or removed while the run is open (``claims_folder.py``). On
filesystems without hard links the file is created exclusively and the identity written into it.
"""

import contextlib
import errno
import os
import zlib
from pathlib import Path

from hpcpipe.manifest.claims_folder import FAN_OUT, open_claims
from hpcpipe.manifest.files import NO_LINKS, write_new


def claim_path(folder: Path, block: str, attempt: int) -> Path:
    """Path of a claim. Raises nothing."""
    number = int(block) if block.isdecimal() else zlib.crc32(block.encode())
    return folder / f"{number % FAN_OUT:02x}" / f"{block}.{attempt}"


class Claims:
    """Takes claims for one worker, and reads those of others."""

    def __init__(self, folder: Path, identity: Path) -> None:
        """Start without claims.

        Args:
            folder: ``RUN_DIR/claims`` with its fan-out folders.
            identity: this worker's identity file, on the same filesystem.

        Raises:
            OSError: the identity file cannot be read.
        """
        self._folder = folder
        self._source = identity
        self._identity = identity.read_bytes()
        self._inodes = {os.stat(identity).st_ino}
        self._num_sources = 1
        self._can_link = True

    def take(self, block: str, attempt: int) -> bool:
        """Try to take an attempt.

        Args:
            block: block name.
            attempt: the attempt's number.

        Returns:
            True where it is this worker's now, False where somebody else has it.

        Raises:
            FileNotFoundError: the run was closed.
            OSError: the filesystem fails for another reason than an existing claim.
        """
        return self._link(claim_path(self._folder, block, attempt))

    def reopen(self) -> None:
        """Make claims where they are made now. Raises OSError."""
        self._folder = open_claims(self._folder.parent)

    def _link(self, path: Path) -> bool:
        if not self._can_link:
            return self._create(path)
        try:
            os.link(self._source, path)
        except OSError as error:
            if error.errno == errno.EMLINK:
                self._roll_over()
                return self._link(path)
            # A network filesystem may repeat a request whose first answer got lost, and a call
            # that was reported to have failed may have taken it.
            own = self._is_own(path)
            if own is not None or isinstance(error, FileExistsError):
                return bool(own)
            if error.errno in NO_LINKS:
                self._can_link = False
                return self._create(path)
            raise
        return True

    def _create(self, path: Path) -> bool:
        try:
            write_new(path, self._identity)
        except FileExistsError:
            return bool(self._is_own(path))
        return True

    def _is_own(self, path: Path) -> bool | None:
        """Whether a claim is this worker's; None where there is none."""
        try:
            inode = os.stat(path).st_ino
            return inode in self._inodes if self._can_link else path.read_bytes() == self._identity
        except FileNotFoundError:
            return None

    def _roll_over(self) -> None:
        self._num_sources += 1
        stem = self._source.name.split(".links-")[0].removesuffix(".json")
        source = self._source.with_name(f"{stem}.links-{self._num_sources}.json")
        self._inodes.add(write_new(source, self._identity))
        self._source = source

    def exists(self, block: str, attempt: int) -> bool:
        """Tell whether an attempt is taken, by anybody. Raises OSError."""
        try:
            os.stat(claim_path(self._folder, block, attempt))
        except FileNotFoundError:
            return False
        return True

    def holds(self, block: str, attempt: int) -> bool:
        """Tell whether an attempt is this worker's and the last one taken.

        Args:
            block: block name.
            attempt: the attempt's number.

        Returns:
            False where somebody has taken the next attempt, and where the claim is gone or
            another's: the run directory was removed, and perhaps made anew, meanwhile.

        Raises:
            OSError: it cannot be told.
        """
        return self.read(block, attempt) == self._identity and not self.exists(block, attempt + 1)

    def read(self, block: str, attempt: int) -> bytes | None:
        """Read the identity of an attempt's owner.

        Args:
            block: block name.
            attempt: the attempt's number.

        Returns:
            The owner's identity as its file has it; None where nobody has taken the attempt.

        Raises:
            OSError: the claim cannot be read.
        """
        try:
            return claim_path(self._folder, block, attempt).read_bytes()
        except FileNotFoundError:
            return None


def last_attempts(folder: Path) -> dict[str, int]:
    """Read the highest attempt taken on every block, in one pass over the claims.

    Args:
        folder: ``RUN_DIR/claims``.

    Returns:
        Attempt numbers by block name; blocks never claimed are not in it, and none is in it
        where the run is closed.

    Raises:
        OSError: a folder cannot be read.
    """
    highest: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for fan in os.listdir(folder):
            for name in os.listdir(folder / fan):
                block, _, attempt = name.rpartition(".")
                if block and attempt.isdecimal():
                    highest[block] = max(highest.get(block, 0), int(attempt))
    return highest
