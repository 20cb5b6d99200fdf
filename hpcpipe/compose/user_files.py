"""Which of the user's configuration files an error is about."""

import re
from collections.abc import Iterable
from pathlib import Path

from hpcpipe.compose import conf_files
from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError


def unreadable(err: Exception, overrides: Iterable[str]) -> ConfigError | None:
    """Find the file that could not be read, and say what is wrong with it.

    Args:
        err: what Hydra raised.
        overrides: the user's overrides.

    Returns:
        The error to show; None where `err` is not about reading a file.

    Raises:
        OSError: a configuration file cannot be opened.
    """
    from hydra.errors import ConfigCompositionException
    from yaml import YAMLError

    # Hydra wraps OmegaConf's refusal of a value in an exception without a text.
    is_value = isinstance(err, ConfigCompositionException) and not str(err)
    if not (is_value or isinstance(err, YAMLError | UnicodeDecodeError | RecursionError)):
        return None
    mark = getattr(err, "problem_mark", None)
    name = mark.name if mark else getattr(err, "name", None)
    chosen = chosen_files(overrides)
    others = [file for file in _all_files() if file not in chosen]
    for file in [Path(name)] if name else [*chosen, *others]:
        try:
            read_yaml(file)
        except ConfigError as problem:
            return problem
    return None


def chosen_files(overrides: Iterable[str]) -> list[Path]:
    """List the user's own files that the overrides choose.

    Args:
        overrides: the user's overrides.

    Returns:
        Their paths; of a group that no override names, all there are.

    Raises:
        Nothing.
    """
    given = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    return [
        file
        for file in _all_files()
        if (names := given.get(file.parent.name)) is None or file.stem in names.split(",")
    ]


def named_in(text: str) -> Path | None:
    """Find the file that Hydra means by ``In 'site/mine': ...``.

    Args:
        text: Hydra's message.

    Returns:
        The file, or None.

    Raises:
        Nothing.
    """
    match = re.search(r"\b[Ii]n '?(\w+)/([\w-]+)'?[:,]", text)
    return conf_files.group_files(match[1]).get(match[2]) if match else None


def _all_files() -> list[Path]:
    hidden = conf_files.hidden_main_config()
    files = [file for group in conf_files.GROUPS for file in conf_files.group_files(group).values()]
    own = [file for file in files if not file.is_relative_to(conf_files.main_dir())]
    return [*([hidden] if hidden else []), *own]
