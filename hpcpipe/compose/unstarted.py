"""Composing the runs of a command that is not to be started: its inputs may be missing.

Which models a stage loads has nothing to do with what it reads, which may not be there yet.
"""

from collections.abc import Iterator, Mapping

from hpcpipe.compose import conf_files
from hpcpipe.compose.app import compose, raise_errors
from hpcpipe.compose.arguments import given_values, split_arguments
from hpcpipe.compose.pipeline import compose_pipelines
from hpcpipe.config import Config
from hpcpipe.config.convert import MISSING
from hpcpipe.errors import ConfigError

_NOT_GIVEN = "/not-given/"


def compose_unstarted(words: list[str], verbs: Mapping[str, str]) -> list[Config]:
    """Compose what a command would start.

    Args:
        words: its flags and overrides; required ones that do not matter for models may be missing.
        verbs: verb -> help, to recognise a mistyped one.

    Returns:
        The configurations of its runs, those of a pipeline's steps in order.

    Raises:
        ConfigError: the command would be refused, too; or a value is missing that names a model.
    """
    flags, overrides = split_arguments(words, verbs)
    if any(flag.startswith("--cfg") for flag in flags):
        raise ConfigError("--cfg prints what is composed, and needs no models: leave it out")
    given = given_values(overrides)
    overrides += _stand_ins(given)
    if name := given.get("pipeline"):
        pipelines = compose_pipelines(name, flags, overrides)
        configs = [step.config for each in pipelines for step in each.config.steps]
    else:
        composed = compose(flags, overrides)
        raise_errors(composed)
        configs = composed.configs
    for config in configs:
        _check_models_are_given(config, "pipeline" if name else "stage")
    return configs


def _stand_ins(given: Mapping[str, str]) -> Iterator[str]:
    """Values for options that have to be given and are not."""
    for group in ("stage", "pipeline"):
        file = conf_files.group_files(group).get(given.get(group, ""))
        for option in conf_files.options(conf_files.read_text(file)) if file else ():
            key = f"{group}.{option.name}"
            if option.value == MISSING and key not in given:
                yield f"{key}={_NOT_GIVEN}{option.name}"


def _check_models_are_given(config: Config, group: str) -> None:
    for model in config.stage.models():
        if model.name.startswith(_NOT_GIVEN):
            key = f"{group}.{model.name.removeprefix(_NOT_GIVEN)}"
            raise ConfigError(f"{key} is required: add {key}=VALUE")
