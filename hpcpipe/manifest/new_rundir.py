"""Make a run directory in one step: under a temporary name, then renamed."""

import os
import shutil
import stat
from pathlib import Path

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.claims_folder import make_claims_folder
from hpcpipe.manifest.files import FOLDER_MODE, fsync_dir, nonce, write_new
from hpcpipe.manifest.rundir import FOLDERS, RUN_FILE, RunDir, RunInfo


class NewRunDir:
    """A run directory in the making, under a temporary name beside the final one."""

    def __init__(self, final: Path) -> None:
        """Make the folders.

        Args:
            final: the run directory's name once published.

        Raises:
            OSError: the folders cannot be made.
        """
        self.final = final.absolute()
        self.path = self.final.with_name(f".{self.final.name}.{nonce()}")
        self.final.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(FOLDER_MODE)
        try:
            make_claims_folder(self.path / "claims")
            for name in FOLDERS:
                (self.path / name).mkdir(FOLDER_MODE)
        except OSError:
            self.discard()
            raise

    def publish(self, info: RunInfo, config_text: str) -> RunDir:
        """Give it its final name in one step.

        Args:
            info: what the run is.
            config_text: the config as YAML.

        Returns:
            The run directory: this one, or the one somebody else published first.

        Raises:
            RunMismatchError: the one published first belongs to something else.
            OSError: it cannot be published.
        """
        write_new(self.path / "config.yaml", config_text.encode())
        write_new(self.path / RUN_FILE, msgspec.json.format(msgspec.json.encode(info)) + b"\n")
        self._close_to_others()
        fsync_dir(self.path)
        try:
            os.rename(self.path, self.final)
        except OSError:
            self.discard()
            if not self.final.exists():
                raise
            run = RunDir(self.final)
            if run.info.fingerprint != info.fingerprint:
                raise RunMismatchError(
                    f"run directory {self.final} was just made by another run; "
                    "give one of the two another run_dir or run_name"
                ) from None
            return run
        fsync_dir(self.final.parent)
        return RunDir(self.final)

    def _close_to_others(self) -> None:
        """Whatever the umask: who can write here can have workers run anything."""
        for path in (*self.path.iterdir(), *(self.path / "artifacts").iterdir()):
            mode = path.lstat().st_mode
            if mode & stat.S_IWOTH and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & ~stat.S_IWOTH)

    def discard(self) -> None:
        """Remove what was made so far. Raises nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
