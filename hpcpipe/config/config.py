"""One run's whole configuration as typed, frozen records, and where they come from.

`from_omegaconf` makes a `Config` of what Hydra composed; `load` makes the same one again of the
``config.yaml`` in a run directory, which is what workers do. Hydra itself is not needed here.
Nothing below ``compose`` sees an OmegaConf object.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from hpcpipe.config import resolve, secrets, stored
from hpcpipe.config.convert import MISSING, build, convert, convert_fields, field_types, unknown_key
from hpcpipe.config.options import (
    LAUNCHERS,
    Launcher,
    Paths,
    Resources,
    RunOptions,
    Site,
    TopLevel,
)
from hpcpipe.config.version import check_version
from hpcpipe.config.yaml_files import read_yaml
from hpcpipe.errors import ConfigError
from hpcpipe.stage import Stage

if TYPE_CHECKING:
    from omegaconf import DictConfig

T = TypeVar("T")

CONFIG_FILE = "config.yaml"
"""Name of the stored configuration in a run directory."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything one run is made of.

    Attributes:
        stage: the stage, its options checked.
        stage_name: what the user called it (``stage=NAME``).
        stage_options: the options as plain values, paths absolute. May hold values read from the
            environment: for the fingerprint and for messages about single keys, not for files.
        run_name: the label; the first 8 digits of `core_fingerprint` unless given.
        run_dir: absolute path of the run directory.
        run_dir_given: the user named `run_dir`.
        output: absolute path or URL of the output folder.
        output_given: the user named it; otherwise it is ``out`` in the run directory.
        fingerprint: 16 hex digits, the run's identity.
        core_fingerprint: the same without the output folder.
        limit: work on the first so many shards only.
        extend: take in inputs that are new since the plan was made.
        retry_failed: try again what failed inside finished shards.
        adopt: take over an output folder whose run is gone.
        wait: follow a submitted run to its end.
        run: how shards are run.
        launcher: how workers are started.
        resources: what one worker needs.
        site: what the cluster wants to hear.
        text: YAML to store in the run directory: resolved, paths absolute, values from the
            environment still ``${oc.env:NAME}`` so that no token lands on disk.
    """

    stage: Stage
    stage_name: str
    stage_options: dict[str, Any]
    run_name: str
    run_dir: str
    run_dir_given: bool
    output: str
    output_given: bool
    fingerprint: str
    core_fingerprint: str
    limit: int | None
    extend: bool
    retry_failed: bool
    adopt: bool
    wait: bool
    run: RunOptions
    launcher: Launcher
    resources: Resources
    site: Site
    text: str


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """The stage's options and what follows from them alone."""

    options: dict[str, Any]
    core_fingerprint: str
    fingerprint: str


def from_omegaconf(cfg: "DictConfig", stage_name: str) -> Config:
    """Turn what Hydra composed into a checked `Config`.

    Args:
        cfg: the composed configuration, with ``stage`` and without ``hydra``; it is not changed.
        stage_name: the name that was chosen with ``stage=NAME``.

    Returns:
        The configuration; nothing has been written or created.

    Raises:
        ConfigError: an option is unknown, missing, of the wrong type, or cannot be resolved.
    """
    written = resolve.raw(cfg)
    secrets.refuse_literals(written)
    try:
        config = _make(cfg, stage_name, None)
    except ConfigError as err:
        raise ConfigError(secrets.hidden(str(err), written)) from None
    secrets.refuse_in_urls({"stage": {**config.stage_options, "output": config.output}})
    return config


def load(run_dir: Path, name: str = CONFIG_FILE) -> Config:
    """Read the configuration that is stored in a run directory.

    Args:
        run_dir: the run directory; it may have been moved since.
        name: the file in it: the run's own, or one launch's (``launches/N.yaml``).

    Returns:
        The configuration as it was when the run was made, at this `run_dir`.

    Raises:
        ConfigError: there is none, or it does not fit this version of hpcpipe or of the stage.
    """
    from omegaconf import DictConfig

    path = run_dir / name
    try:
        cfg = read_yaml(path)
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise ConfigError(f"{run_dir} is not a run directory: {path}: {err.strerror}") from err
    if not isinstance(cfg, DictConfig) or "stage_name" not in cfg:
        raise ConfigError(f"{path} is not the configuration of a run")
    check_version(cfg, path)
    stage_name = cfg.pop("stage_name")
    try:
        config = _make(cfg, stage_name, str(run_dir.absolute()))
    except ConfigError as err:
        raise ConfigError(f"{path}: {secrets.hidden(str(err), resolve.raw(cfg))}") from None
    return dataclasses.replace(config, text=text)


def _make(cfg: "DictConfig", stage_name: str, loaded_from: str | None) -> Config:
    cfg = resolve.editable(cfg)
    _check_top_level(cfg, stage_name)
    paths = _section(Paths, cfg, "paths")
    cls = resolve.stage_class(cfg.stage.get("_target_"), paths.code)
    run_name_given, run_dir_given = (
        cfg.get("run_name") is not None,
        cfg.get("run_dir") is not None,
    )
    identity = _identify(cls, cfg)
    output = identity.options["output"]
    if not run_dir_given:
        label = identity.fingerprint[:8]
        if run_name_given or output is not None:
            label = f"{resolve.plain(cfg, 'run_name')}-{label}"
        cfg.run_dir = stored.escaped(f"{paths.runs}/{stage_name}/{label}")
    top = _section(TopLevel, cfg)
    launcher = _launcher(cfg)
    run_dir = loaded_from or str(top.run_dir)
    return Config(
        stage=_instance(cls, identity.options),
        stage_name=stage_name,
        stage_options=msgspec.to_builtins(identity.options),
        run_name=_run_name(top),
        run_dir=run_dir,
        run_dir_given=run_dir_given,
        output=output or f"{run_dir}/out",
        output_given=output is not None,
        fingerprint=identity.fingerprint,
        core_fingerprint=identity.core_fingerprint,
        limit=top.limit,
        extend=top.extend,
        retry_failed=top.retry_failed,
        adopt=top.adopt,
        wait=top.wait,
        run=top.run,
        launcher=launcher,
        resources=top.resources,
        site=top.site,
        text=_text(cfg, stage_name, identity, top, launcher, run_dir_given),
    )


def _identify(cls: type[Stage], cfg: "DictConfig") -> _Identity:
    """Check the options and fingerprint them; gives ``run_name`` its default in `cfg`.

    The output folder may be called after the run and the run after its other options, so these
    are resolved first, with the names still unknown.
    """
    output = resolve.raw(cfg.stage).get("output")
    unnamed = [key for key in ("run_name", "run_dir") if cfg.get(key) is None]
    for key in unnamed:
        cfg[key] = MISSING
    cfg.stage.output = MISSING
    hints = field_types(cls)
    values = resolve.absolute(resolve.plain(cfg, "stage"), cls)
    target = values.pop("_target_")
    options = convert_fields(cls, values, "stage", skip=("output",))
    core = {name: value for name, value in options.items() if not resolve.is_tuning(hints[name])}
    core = {"_target_": target, **msgspec.to_builtins(core)}
    core_fingerprint = fingerprint = resolve.fingerprint(core)

    if "run_name" in unnamed:
        cfg.run_name = core_fingerprint[:8]
    cfg.stage.output = None if output == MISSING else output
    named = resolve.absolute(resolve.plain(cfg.stage, "output", "stage."), hints["output"])
    options["output"] = convert(named, hints["output"], "stage.output")
    if named is not None:
        fingerprint = resolve.fingerprint({**core, "output": named})
    return _Identity(options=options, core_fingerprint=core_fingerprint, fingerprint=fingerprint)


def _instance(cls: type[Stage], options: dict[str, Any]) -> Stage:
    try:
        return cls(**options)
    except (TypeError, ValueError) as err:
        raise ConfigError(f"stage: {err}") from err


def _section(cls: type[T], cfg: "DictConfig", key: str | None = None) -> T:
    if key is not None:
        return build(cls, resolve.absolute(resolve.plain(cfg, key), cls), key)
    values = {name: resolve.plain(cfg, name) for name in field_types(cls) if name in cfg}
    return build(cls, resolve.absolute(values, cls), "")


def _launcher(cfg: "DictConfig") -> Launcher:
    values = resolve.plain(cfg, "launcher")
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in LAUNCHERS:
        raise ConfigError(f"launcher.kind: expected {' or '.join(LAUNCHERS)}, got {kind!r}")
    return build(LAUNCHERS[kind], resolve.absolute(values, LAUNCHERS[kind]), "launcher")


def _run_name(top: TopLevel) -> str:
    name = top.run_name or ""
    if not re.fullmatch(r"\w[\w.+=@,-]{0,99}", name, re.ASCII):
        raise ConfigError(
            f"run_name: {name!r} cannot name a folder and a job: use up to 100 letters, digits "
            f"and . _ - + = @ , beginning with a letter or digit"
        )
    return name


def _check_top_level(cfg: "DictConfig", stage_name: str) -> None:
    from omegaconf import DictConfig

    valid = ["stage", "launcher", *field_types(TopLevel)]
    unknown = [str(key) for key in cfg if key not in valid]
    names = [name for name in resolve.dotted_names(cfg) if name not in unknown]
    if problems := [unknown_key(key, valid, "", names) for key in unknown]:
        raise ConfigError("\n".join(problems))
    if not re.fullmatch(r"\w[\w-]*", stage_name):
        raise ConfigError(f"stage={stage_name}: not the plain name of a stage")
    if not isinstance(cfg.get("stage"), DictConfig):
        raise ConfigError("stage is required: choose one with stage=NAME")


def _text(
    cfg: "DictConfig",
    stage_name: str,
    identity: _Identity,
    top: TopLevel,
    launcher: Launcher,
    run_dir_given: bool,
) -> str:
    from omegaconf import OmegaConf

    final = {"stage": identity.options, "launcher": launcher, **vars(top)}
    tree = {"stage_name": stage_name} | stored.escaped(msgspec.to_builtins(final))
    for key in ("stage", "launcher", "run", "resources", "site"):
        tree[key] = stored.storable(cfg[key], msgspec.to_builtins(final[key]))
    tree["run_dir"] = tree["run_dir"] if run_dir_given else None
    return OmegaConf.to_yaml(OmegaConf.create(tree))
