"""The output folder's memory of its run: ``OUTPUT/.hpcpipe/STAGE.json``."""

from pathlib import Path

import msgspec

from hpcpipe.errors import RunMismatchError
from hpcpipe.formats.remote import display, filesystem, is_remote
from hpcpipe.formats.remote_errors import outages
from hpcpipe.manifest.files import JSON_ERRORS, publish_new, replace

FOLDER = ".hpcpipe"


class Marker(msgspec.Struct, frozen=True):
    """Names the run that an output folder belongs to, for one stage.

    Attributes:
        format_version: of this file.
        stage: stage name.
        run_dir: absolute, or relative to the output folder.
        run_name: label.
        fingerprint: identity of stage and options.
    """

    format_version: int
    stage: str
    run_dir: str
    run_name: str
    fingerprint: str

    def run_path(self, output: str) -> Path:
        """Absolute path of the run directory.

        Args:
            output: the output folder the marker was read from.

        Returns:
            The path.

        Raises:
            Nothing.
        """
        return Path(self.run_dir) if is_remote(output) else (Path(output) / self.run_dir).resolve()


def _name(output: str, stage: str) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/{stage}.json"


def read_marker(output: str, stage: str) -> Marker | None:
    """Read the marker of one stage.

    Args:
        output: output folder, path or URL.
        stage: stage name.

    Returns:
        The marker; None where there is none.

    Raises:
        OutageError: its store is down.
        OSError: it cannot be read.
        RunMismatchError: it is damaged.
    """
    name = _name(output, stage)
    try:
        if is_remote(name):
            fs, key = filesystem(name)
            with outages(name):
                data = fs.cat_file(key)
        else:
            data = Path(name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _decode(data, name)


def _decode(data: bytes, name: str) -> Marker:
    try:
        return msgspec.json.decode(data, type=Marker)
    except JSON_ERRORS as error:
        raise RunMismatchError(
            f"{display(name)}, which says what run made this folder, is damaged: {error}. "
            "Remove it, and take the folder over with adopt=true"
        ) from None


def read_markers(folder: Path) -> list[Marker]:
    """Read the markers of all stages in a local folder.

    Args:
        folder: the folder.

    Returns:
        The markers; none for a folder that no run made.

    Raises:
        OSError: one cannot be read.
        RunMismatchError: one is damaged.
    """
    paths = sorted((folder / FOLDER).glob("*.json"))
    return [_decode(path.read_bytes(), str(path)) for path in paths]


def write_marker(output: str, marker: Marker, *, overwrite: bool) -> bool:
    """Write the marker of one stage.

    Args:
        output: output folder, path or URL.
        marker: the marker.
        overwrite: replace an older one.

    Returns:
        False where there is one already and it was left alone.

    Raises:
        OutageError: its store is down.
        OSError: it cannot be written.
    """
    name, data = _name(output, marker.stage), msgspec.json.encode(marker) + b"\n"
    if is_remote(name):
        fs, key = filesystem(name)
        with outages(name):
            fs.invalidate_cache()
            if not overwrite and fs.exists(key):
                return False
            fs.pipe_file(key, data)
        return True
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if overwrite:
        replace(path, data)
        return True
    try:
        publish_new(path, data)
    except FileExistsError:
        return False
    return True
