"""Whether a stored configuration has the options of this version of hpcpipe.

Options of stages are not looked at: they belong to the stage's own code.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hpcpipe
from hpcpipe.config import resolve
from hpcpipe.config.convert import field_types, has_default
from hpcpipe.config.options import LAUNCHERS, TopLevel
from hpcpipe.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def check_version(cfg: "DictConfig", path: Path) -> None:
    """Make sure that a stored configuration was stored by a version with the same options.

    Args:
        cfg: what stands in it.
        path: the file.

    Raises:
        ConfigError: options are missing, or there are others.
    """
    missing, unknown = set[str](), set[str]()
    for prefix, cls, found in _sections(cfg):
        fields = {field.name: has_default(field) for field in dataclasses.fields(cls)}
        lacks = [name for name, may_lack in fields.items() if name not in found and not may_lack]
        missing.update(prefix + name for name in lacks)
        unknown.update(prefix + name for name in found - fields.keys())
    what = [f"has no {', '.join(sorted(missing))}"] if missing else []
    what += [f"has {', '.join(sorted(unknown))}"] if unknown else []
    if what:
        raise ConfigError(
            f"{path} was stored by another version of hpcpipe (this is {hpcpipe.__version__}): it "
            f"{' and '.join(what)}. Launch the run again with the same command, which stores what "
            "this version needs and leaves alone what is done; or use the other version"
        )


def _sections(cfg: "DictConfig") -> Iterator[tuple[str, type, set[str]]]:
    """Prefix, class and keys of each part that is what it should be."""
    values = resolve.raw(cfg)
    yield "", TopLevel, set(values) - {"stage_name", "stage", "launcher"}
    classes = field_types(TopLevel)
    if isinstance(launcher := values.get("launcher"), dict):
        classes["launcher"] = LAUNCHERS.get(str(launcher.get("kind")))
    for name, cls in classes.items():
        found = values.get(name)
        if isinstance(cls, type) and dataclasses.is_dataclass(cls) and isinstance(found, dict):
            yield f"{name}.", cls, set(found)
