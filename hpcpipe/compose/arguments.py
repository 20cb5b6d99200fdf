"""The command line's arguments: flags in any place, overrides, and what is neither.

Standard library only; most mistakes are answered here, before Hydra is imported.
"""

import re
from collections.abc import Mapping

from hpcpipe.cli.usage import unknown_choice
from hpcpipe.compose import conf_files
from hpcpipe.config.convert import unknown_key
from hpcpipe.errors import ConfigError

MULTIRUN_FLAGS = ("-m", "--multirun")
FLAGS_WITH_VALUE = ("--cfg", "--package")
FLAGS = (*MULTIRUN_FLAGS, *FLAGS_WITH_VALUE, "--resolve")
ANSWERED_BEFORE = ("-h", "--help", "--version")


def split_arguments(args: list[str], verbs: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Separate flags from overrides, since Hydra's parser wants all flags first.

    Args:
        args: flags and overrides in any order.
        verbs: verb -> help, to recognise a mistyped one.

    Returns:
        Flags with their values, and overrides.

    Raises:
        ConfigError: a flag is unknown, an argument is no override, or ``launcher`` is given
            without ``-m``.
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(args)
    for arg in rest:
        name = arg.partition("=")[0]
        if name in FLAGS:
            flags.append(arg)
            if arg in FLAGS_WITH_VALUE:
                flags.append(next(rest, ""))
        elif arg.startswith("-"):
            raise ConfigError(_explain_flag(name))
        elif "=" not in arg and not arg.startswith("~"):
            raise ConfigError(_explain_bare(arg, verbs))
        else:
            overrides.append(normalised(arg))
    if any(flag.startswith("--cfg") for flag in flags):
        return [flag for flag in flags if flag not in MULTIRUN_FLAGS], overrides
    _check_launch(flags, overrides)
    return flags, overrides


def normalised(override: str) -> str:
    """Mark an override as a new key where the YAML may lack it.

    A site's file may leave keys out, and submitit has options that no YAML lists.

    Args:
        override: ``KEY=VALUE``.

    Returns:
        The override as Hydra wants to hear it.

    Raises:
        Nothing.
    """
    return f"++{override}" if re.match(r"(launcher\.slurm|site)\.", override) else override


def _explain_flag(name: str) -> str:
    message = unknown_key(name, (*FLAGS, *ANSWERED_BEFORE), "").replace("option", "flag")
    return f"{message}. Options have no dashes: KEY=VALUE, as in launcher.array_size=8 wait=true"


def _explain_bare(arg: str, verbs: Mapping[str, str]) -> str:
    for group in ("stage", "pipeline"):
        if arg in conf_files.group_files(group):
            return f"{arg} is a {group}: write {group}={arg}"
    if "." in arg or "/" in arg:
        return f"{arg}: expected KEY=VALUE"
    return unknown_key(arg, verbs, "").replace("option", "verb")


def given_values(overrides: list[str]) -> dict[str, str]:
    """Take overrides apart.

    Args:
        overrides: ``KEY=VALUE``.

    Returns:
        Value by key; of a key that comes twice the last.

    Raises:
        Nothing.
    """
    return dict(override.lstrip("+").partition("=")[::2] for override in overrides)


def _check_launch(flags: list[str], overrides: list[str]) -> None:
    given = given_values(overrides)
    if given.get("pipeline"):
        _check_pipeline(given)
    elif given.get("stage") in (None, "", "null"):
        stages = ", ".join(conf_files.group_files("stage"))
        raise ConfigError(f"stage=NAME is missing; the stages are: {stages}")
    for group in ("launcher", "resources", "site"):
        if given.get(group) in ("", "null"):
            raise ConfigError(unknown_choice(group, given[group]))
    is_multirun = any(flag in MULTIRUN_FLAGS for flag in flags)
    named = [key for key in given if key.partition(".")[0] == "launcher"]
    if named and not is_multirun:
        raise ConfigError(
            f"{named[0]} has no effect in this process: add -m to start workers with it"
        )


def _check_pipeline(given: Mapping[str, str]) -> None:
    if "stage" in given:
        raise ConfigError(
            "stage=NAME and pipeline=NAME do not go together: a pipeline chooses its stages"
        )
    if "," in given["pipeline"]:
        raise ConfigError("pipeline: one at a time")
