"""Before a launch: are the models there that its workers load?"""

import shlex

from hpcpipe.config import Config
from hpcpipe.errors import SetupError
from hpcpipe.launch.pending import own_arguments
from hpcpipe.launch.place import check_place
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.models.hub import find
from hpcpipe.runtime.exit_code import exit_code
from hpcpipe.runtime.results import open_state


def check_models(config: Config, chosen: str) -> None:
    """Refuse to start what lacks a model, unless nothing is left to do.

    Args:
        config: the run's config.
        chosen: ``stage=NAME`` or ``pipeline=NAME``, for a launch from Python.

    Returns:
        Nothing.

    Raises:
        SetupError: models are missing, or not whole; each is named, with the command to fetch it.
        HpcPipeError: its run is there, but cannot be read.
        OSError: a filesystem fails.
    """
    words = shlex.join(own_arguments()) or chosen
    problems: list[str] = []
    for model in config.stage.models():
        try:
            find(model, words)
        except SetupError as error:
            problems.append(str(error))
    if problems and not is_complete(config):
        raise SetupError("\n".join(problems))


def is_complete(config: Config) -> bool:
    """Tell whether a launch of this config would find nothing left to do.

    Args:
        config: the run's config.

    Returns:
        Whether it would.

    Raises:
        HpcPipeError: its run is there, but cannot be read.
        OSError: a filesystem fails.
    """
    path, is_free, _ = check_place(config)
    if is_free or config.extend or config.retry_failed:
        return False
    run = RunDir(path)
    state, _ = open_state(run, config)
    code = exit_code(state, config, config.limit, has_finalize=run.info.has_finalize)
    return code in (0, 3)
