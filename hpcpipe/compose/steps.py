"""The steps that a pipeline's file lists, and their settings as overrides for Hydra.

A step's lines are the settings of the command that would run it alone, ``KEY: VALUE`` for
``KEY=VALUE``. On the command line the step's name stands in front: ``reshard.stage.shuffle=true``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpcpipe.cli.usage import OF_ONE_RUN, unknown_choice
from hpcpipe.compose import conf_files
from hpcpipe.compose.arguments import normalised
from hpcpipe.compose.hydra_errors import quote_value
from hpcpipe.config import resolve
from hpcpipe.config.convert import field_types, unknown_key
from hpcpipe.config.options import TopLevel
from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError

CHOICES = ("stage", "resources", "site", "launcher")
"""Keys whose value is the name of a file in ``conf/``."""

OF_THE_PIPELINE = ("pipeline", "launcher", "wait")
"""Keys that are for the pipeline as a whole to choose."""

_TAKEN = frozenset({"stage", "launcher", "pipeline", "steps", "hydra", *field_types(TopLevel)})


def read_steps(name: str) -> dict[str, dict[str, Any]]:
    """Read the steps of a pipeline from its file.

    Args:
        name: the pipeline.

    Returns:
        Settings by step, in order; interpolations as they are written.

    Raises:
        ConfigError: there is no such pipeline, or its steps are not as they should be.
        OSError: the file cannot be read.
    """
    from omegaconf import DictConfig

    files = conf_files.group_files("pipeline")
    if name not in files:
        raise ConfigError(unknown_choice("pipeline", name))
    cfg = read_yaml(files[name])
    steps = resolve.raw(cfg).get("steps") if isinstance(cfg, DictConfig) else None
    if not isinstance(steps, dict) or not steps:
        raise ConfigError(f"{files[name]}: a pipeline lists its steps under steps:, NAME: each")
    for step, settings in steps.items():
        problem = _name_problem(str(step)) or _settings_problem(settings)
        if problem:
            raise ConfigError(f"{files[name]}, step {step}: {problem}")
    return {str(step): settings for step, settings in steps.items()}


def _name_problem(step: str) -> str:
    if step in _TAKEN:
        return f"{step} is a setting of every run: call the step something else"
    if not re.fullmatch(r"[A-Za-z]\w*", step, re.ASCII):
        return "a step's name has letters, digits and _ only, and begins with a letter"
    return ""


def _settings_problem(settings: Any) -> str:
    if not isinstance(settings, dict) or not isinstance(settings.get("stage"), str):
        return "the stage is missing: add stage: NAME"
    for key, value in settings.items():
        if isinstance(value, dict) and key in _TAKEN:
            one = next(iter(value), "KEY")
            return f"settings are written as on the command line: {key}.{one}: VALUE"
        if key in OF_THE_PIPELINE:
            return f"{key} is chosen for the whole pipeline, on the command line"
    return ""


def split_overrides(
    steps: Iterable[str], overrides: Iterable[str]
) -> tuple[list[str], dict[str, list[str]]]:
    """Tell the overrides of single steps from those of the pipeline and of all steps.

    Args:
        steps: names of the steps.
        overrides: ``KEY=VALUE``; ``pipeline.steps.STEP.KEY`` is ``STEP.KEY`` in full.

    Returns:
        The others, and by step its own without the name in front.

    Raises:
        ConfigError: a key names neither a step nor what all have, or is not for it.
    """
    own: dict[str, list[str]] = {step: [] for step in steps}
    others: list[str] = []
    pattern = re.compile(rf"([+~]*)(?:pipeline\.steps\.)?({'|'.join(own)})\.(.+)", re.DOTALL)
    for override in overrides:
        if match := pattern.fullmatch(override):
            _check_own(match[2], match[3])
            own[match[2]].append(normalised(match[1] + match[3]))
        else:
            _check_common(override.lstrip("+~").partition("=")[0], own)
            others.append(override)
    return others, own


def _check_own(step: str, override: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    key = override.partition("=")[0]
    if key in OF_THE_PIPELINE:
        raise ConfigError(f"{step}.{key}: {key} is chosen for the whole pipeline: {key}=VALUE")
    try:
        (parsed,) = OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        return  # Hydra says it again when the step is composed, and then in our words.
    if parsed.is_sweep_override():
        raise ConfigError(
            f"{step}.{key}: only the pipeline's own options take several values: add one to its "
            f"file, and {key}: ${{pipeline.OPTION}} to the step"
        )


def _check_common(key: str, steps: Iterable[str]) -> None:
    head, _, rest = key.partition(".")
    names = ", ".join(steps)
    if head in ("stage", *OF_ONE_RUN):
        raise ConfigError(
            f"{key}: name the step that is meant: STEP.{key}=VALUE; the steps are: {names}"
        )
    if key.startswith("pipeline.steps"):
        wanted = key.removeprefix("pipeline.steps").strip(".").partition(".")[0]
        raise ConfigError(unknown_key(wanted, steps, "").replace("option", "step"))
    if rest and head not in _TAKEN:
        raise ConfigError(unknown_key(head, steps, "").replace("option", "step"))


def step_overrides(
    settings: Mapping[str, Any], common: Iterable[str], own: Iterable[str], launcher: Iterable[str]
) -> list[str]:
    """Give the overrides that a step is composed with: its file's, then everybody's, then its own.

    Args:
        settings: the step's settings in the pipeline's file.
        common: overrides of all steps; the pipeline's own are left out.
        own: overrides of this step.
        launcher: options of the launcher that was chosen.

    Returns:
        Choices first, each once.

    Raises:
        Nothing.
    """
    unfit = {f"launcher.{option}" for option in _launcher_options() - set(launcher)}
    written = [
        normalised(f"{key}={value if key in CHOICES else _literal(value)}")
        for key, value in settings.items()
        if key not in unfit
    ]
    shared = [text for text in common if _head(text) not in ("pipeline", "wait")]
    choices: dict[str, str] = {}
    values: list[str] = []
    for text in (*written, *shared, *own):
        key = text.lstrip("+").partition("=")[0]
        if key in CHOICES:
            choices[key] = text
        else:
            values.append(text)
    return [*choices.values(), *values]


def _head(override: str) -> str:
    return re.split(r"[.=]", override.lstrip("+~"), maxsplit=1)[0]


def _launcher_options() -> set[str]:
    """Options that some launcher has: a step's file may set those of any."""
    texts = map(conf_files.read_text, conf_files.group_files("launcher").values())
    return {option.name for text in texts for option in conf_files.options(text)}


def _literal(value: Any) -> str:
    """Write a plain value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_literal, value)) + "]"
    return quote_value(value) if isinstance(value, str) else str(value)
