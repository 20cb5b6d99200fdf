"""What of a configuration is stored: resolved, but nothing that came from the environment.

A worker reads it back and resolves the rest in its own environment; tokens never reach a file.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hpcpipe.config import resolve
from hpcpipe.config.convert import build
from hpcpipe.config.version import check_version
from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

T = TypeVar("T")


@contextlib.contextmanager
def _environment_reads() -> Iterator[list[str]]:
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    names: list[str] = []

    def read(name: str, *default: Any) -> Any:
        names.append(name)
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", read, replace=True)
    try:
        yield names
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def storable(node: "DictConfig | ListConfig", final: Any) -> Any:
    """Give the values to store: final ones, but nothing that was read from the environment.

    Args:
        node: composed values, interpolations and all.
        final: the same tree with final plain values.

    Returns:
        Plain tree in which leaves that depend on ``oc.env`` are still interpolations.

    Raises:
        Nothing beyond what resolving `node` once before would have raised.
    """
    from omegaconf import OmegaConf

    stored: Any = OmegaConf.to_container(node, resolve=False)
    for key in range(len(stored)) if isinstance(stored, list) else list(stored):
        raw = stored[key]
        if isinstance(final, dict) and key not in final:
            continue
        if isinstance(raw, dict | list):
            stored[key] = storable(node[key], final[key])
            continue
        with _environment_reads() as reads:
            value = node[key]
        stored[key] = _anchored(raw, value, final[key]) if reads else escaped(final[key])
    return stored


def _anchored(raw: str, value: Any, final: Any) -> str:
    """Put in front of an interpolation what made its relative path absolute."""
    if not isinstance(value, str) or value == final or value.startswith(("~", "file:")):
        return raw
    return f"{escaped(os.getcwd())}/{raw}"


def escaped(value: Any) -> Any:
    r"""Escape text that would read as an interpolation once stored.

    Args:
        value: plain value; only strings, also within lists and dicts, are touched.

    Returns:
        The value, ``${`` written as ``\${``.

    Raises:
        Nothing.
    """
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return value


def load_section(run_dir: Path, name: str, cls: type[T], key: str) -> T:
    """Read one section of a stored configuration, importing nothing that it names.

    Args:
        run_dir: the run directory, which may be anybody's.
        name: the file in it.
        cls: what the section is.
        key: its name.

    Returns:
        The section, interpolations resolved.

    Raises:
        ConfigError: it is damaged, or another version of hpcpipe stored it.
        OSError: the file cannot be read.
    """
    from omegaconf import DictConfig

    cfg = read_yaml(run_dir / name)
    if not isinstance(cfg, DictConfig) or key not in cfg:
        raise ConfigError(f"{run_dir / name} is not the configuration of a run")
    check_version(cfg, run_dir / name)
    try:
        return build(cls, resolve.absolute(resolve.plain(cfg, key), cls), key)
    except ConfigError as err:
        raise ConfigError(f"{run_dir / name}: {err}") from err
