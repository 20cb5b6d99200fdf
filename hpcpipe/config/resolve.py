"""From composed values to final ones: interpolations, absolute paths, stage class, fingerprint.

The helpers of `hpcpipe.config`. OmegaConf is imported inside functions, Hydra never.
"""

import copy
import dataclasses
import hashlib
import importlib
import json
import os
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from hpcpipe.config.convert import MISSING, field_types, union_arms
from hpcpipe.errors import ConfigError
from hpcpipe.stage import MODEL, PATH, TUNING, Stage

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException


def editable(cfg: "DictConfig") -> "DictConfig":
    """Copy a composed configuration so that it can be changed.

    Args:
        cfg: the configuration; it is left alone.

    Returns:
        A copy that takes new keys.

    Raises:
        Nothing.
    """
    from omegaconf import OmegaConf

    cfg = copy.deepcopy(cfg)
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    return cfg


def raw(cfg: "DictConfig") -> dict[str, Any]:
    """Give plain values with their interpolations as they were written.

    Args:
        cfg: a configuration or a part of one.

    Returns:
        Dicts, lists and scalars.

    Raises:
        Nothing.
    """
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(cfg, resolve=False)
    return dict(values)


def dotted_names(cfg: "DictConfig") -> list[str]:
    """Name all options of a composed configuration.

    Args:
        cfg: the configuration.

    Returns:
        ``KEY``, ``SECTION.KEY`` and deeper ones, in its order; sections themselves are left out.

    Raises:
        Nothing.
    """
    return [name for name in _leaves(raw(cfg)) if not name.endswith("._target_")]


def _leaves(values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from (f"{key}.{name}" for name in _leaves(value))
        else:
            yield str(key)


def plain(cfg: "DictConfig", key: str, where: str = "") -> Any:
    """Resolve one key of a composed configuration into plain values.

    Args:
        cfg: the configuration, or a part of it that knows the whole.
        key: a key of it; a missing one counts as null.
        where: dotted prefix of `key` for messages.

    Returns:
        Dicts, lists and scalars; ``"???"`` where a value has yet to be given.

    Raises:
        ConfigError: an interpolation cannot be resolved.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        if OmegaConf.is_missing(cfg, key):
            return MISSING
        value = cfg.get(key)
        if OmegaConf.is_config(value):
            return OmegaConf.to_container(value, resolve=True)
    except OmegaConfBaseException as err:
        raise ConfigError(_explain_interpolation(err, where + key)) from err
    return value


def _explain_interpolation(err: "OmegaConfBaseException", key: str) -> str:
    where = err.full_key or key
    text = str(err.msg or err).splitlines()[0]
    if match := re.search(r"Environment variable '(.*)' not found", text):
        name = match[1]
        return (
            f"{where}: the environment variable {name} is not set. Export it, or give a default: "
            f"${{oc.env:{name},DEFAULT}}"
        )
    if match := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{where} refers to {match[1]}, which is not known here: give {match[1]}=VALUE too"
    if match := re.search(r"Interpolation key '(.*)' not found", text):
        return f"{where} refers to {match[1]}, and there is no such option"
    return f"{where}: {text}"


def absolute(value: Any, hint: Any) -> Any:
    """Make the paths in a plain value absolute, as its annotation marks them.

    Args:
        value: plain value.
        hint: its annotation; `Location` marks a path and `ModelName` what may be one, also within
            lists, dicts and dataclasses.

    Returns:
        The value with absolute paths.

    Raises:
        ConfigError: a dataclass annotation cannot be resolved.
    """
    for arm in union_arms(hint):
        origin, args = typing.get_origin(arm), typing.get_args(arm)
        if isinstance(value, str) and origin is Annotated and PATH in arm.__metadata__:
            return absolute_location(value)
        if isinstance(value, str) and origin is Annotated and MODEL in arm.__metadata__:
            return absolute_location(value) if is_folder(value) else value
        if isinstance(value, list) and origin is list:
            return [absolute(item, args[0]) for item in value]
        if isinstance(value, Mapping) and origin is dict:
            return {key: absolute(item, args[1]) for key, item in value.items()}
        if isinstance(value, Mapping) and dataclasses.is_dataclass(arm) and isinstance(arm, type):
            hints = field_types(arm)
            return {key: absolute(item, hints.get(key)) for key, item in value.items()}
    return value


def absolute_location(text: str) -> str:
    """Make a path or glob absolute and leave a URL as it is.

    Args:
        text: path, glob or fsspec URL; ``~`` and ``file://`` are understood.

    Returns:
        Absolute path or glob without a trailing slash, or the URL.

    Raises:
        Nothing.
    """
    text = text.removeprefix("file://")
    # Alternatives that are absolute themselves must not get the current folder in front.
    if text in ("", MISSING) or "://" in text or re.match(r"\{[^}]*(?<=[{,])/", text):
        return text
    return os.path.normpath(os.path.join(os.getcwd(), os.path.expanduser(text)))


def is_folder(model_name: str) -> bool:
    """Tell a model's folder from its name on the Hub. Raises nothing."""
    return model_name in (".", "..") or model_name.startswith(("/", "./", "../", "~"))


def is_tuning(hint: Any) -> bool:
    """Tell whether an option is marked as one that never changes the result.

    Args:
        hint: its annotation.

    Returns:
        True where ``TUNING`` stands in an ``Annotated``.

    Raises:
        Nothing.
    """
    return any(
        typing.get_origin(arm) is Annotated and TUNING in arm.__metadata__
        for arm in union_arms(hint)
    )


def fingerprint(values: Mapping[str, Any]) -> str:
    """Hash plain values independently of the order of their keys.

    Args:
        values: JSON types only.

    Returns:
        16 hex digits.

    Raises:
        TypeError: a value is no JSON type.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stage_class(target: Any, code: str) -> type[Stage]:
    """Import the class that a stage's ``_target_`` names.

    Args:
        target: ``package.module.Class``.
        code: folder of the user's own modules, looked at after everything installed.

    Returns:
        The class.

    Raises:
        ConfigError: it cannot be imported or is no stage.
    """
    module_name, _, class_name = target.rpartition(".") if isinstance(target, str) else ("",) * 3
    if not module_name:
        raise ConfigError(f"stage._target_: expected package.module.Class, got {target!r}")
    if code not in sys.path:
        sys.path.append(code)
    try:
        cls = getattr(importlib.import_module(module_name), class_name, None)
    except ModuleNotFoundError as err:
        if err.name and (module_name == err.name or module_name.startswith(f"{err.name}.")):
            raise ConfigError(
                f"stage._target_: there is no module {err.name} for {target}. Looked in "
                f"{code} (paths.code), PYTHONPATH and the installed packages: set paths.code to "
                f"the folder that {err.name.split('.')[0]} is in"
            ) from err
        raise ConfigError(f"stage._target_: {module_name} needs {err.name}: {err}") from err
    except Exception as err:
        raise ConfigError(
            f"stage._target_: importing {module_name} failed: {type(err).__name__}: {err}"
        ) from err
    if not (isinstance(cls, type) and issubclass(cls, Stage) and dataclasses.is_dataclass(cls)):
        raise ConfigError(
            f"stage._target_: {target} is not a stage: a dataclass that derives from "
            f"hpcpipe.stage.Stage" + ("" if cls else f" (the module has no {class_name})")
        )
    return cls
