"""From ``pipeline=NAME`` and overrides to checked steps, each composed as a run of its own."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hpcpipe.compose import steps as step_files
from hpcpipe.compose.edges import locations_in, may_read, reads
from hpcpipe.compose.hydra_call import call_main, compose_one
from hpcpipe.compose.references import References, given_by_pipeline
from hpcpipe.config import Config, from_omegaconf, resolve
from hpcpipe.config.convert import MISSING, convert
from hpcpipe.config.pipeline import PipelineConfig, StepConfig, as_typed
from hpcpipe.errors import ConfigError
from hpcpipe.stage import Stage

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Request(NamedTuple):
    """One pipeline that was asked for: the only one, or one combination of a sweep.

    Attributes:
        cfg: what Hydra composed of all that is no step's.
        overrides: the overrides it was composed with.
    """

    cfg: "DictConfig"
    overrides: list[str]


class ComposedPipeline(NamedTuple):
    """A checked pipeline.

    Attributes:
        config: the pipeline.
        text: YAML of what was composed, for ``--cfg job``.
    """

    config: PipelineConfig
    text: str


def compose_pipelines(name: str, flags: list[str], overrides: list[str]) -> list[ComposedPipeline]:
    """Compose and check every pipeline that a command asks for; nothing is started.

    Args:
        name: the pipeline.
        flags: Hydra's flags, without ``--cfg``.
        overrides: all overrides; commas in those of no step make a sweep with ``-m``.

    Returns:
        One pipeline for each combination of values.

    Raises:
        ConfigError: something is wrong in one of them.
    """
    steps = step_files.read_steps(name)
    common, own = step_files.split_overrides(steps, overrides)
    requests: list[Request] = []

    def task(cfg: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        requests.append(Request(cfg, given))

    call_main(flags, common, task)
    return [build(name, request, steps, own) for request in requests]


def build(
    name: str, request: Request, steps: Mapping[str, Mapping[str, Any]], own: dict[str, list[str]]
) -> ComposedPipeline:
    """Compose and check the steps of one pipeline.

    Args:
        name: the pipeline.
        request: what is no step's.
        steps: settings by step, from the pipeline's file.
        own: overrides by step.

    Returns:
        The pipeline.

    Raises:
        ConfigError: an option or a step is wrong.
    """
    from omegaconf import OmegaConf

    values = _options(request.cfg)
    references = References(values)
    made: list[StepConfig] = []
    trees: dict[str, Any] = {}
    is_retry = convert(resolve.plain(request.cfg, "retry_failed"), bool, "retry_failed")
    for step, settings in steps.items():
        typed = {text.lstrip("+~").partition("=")[0] for text in own[step]}
        options = {k: v for k, v in given_by_pipeline(settings).items() if k not in typed}
        try:
            overrides = step_files.step_overrides(
                _with_choices(settings, references),
                request.overrides,
                own[step],
                request.cfg.launcher,
            )
            cfg, config = _composed(overrides, references, made)
            needs = _needs(config, made)
            if is_retry:
                more = _retry_overrides(config, needs, made)
                cfg, config = _composed([*overrides, *more], references, made)
        except ConfigError as err:
            raise ConfigError(f"step {step}: {as_typed(str(err), step, options)}") from err
        references.add_step(step, config)
        made.append(StepConfig(name=step, config=config, needs=needs, options=options))
        trees[step] = resolve.raw(cfg)
    _check_together(made)
    if is_retry and not any(step.config.retry_failed for step in made):
        raise ConfigError(
            f"retry_failed=true: no step of pipeline {name} leaves anything failed in finished "
            f"shards. Shards that failed are tried again after: python -m hpcpipe retry {name}"
        )
    tree = {"pipeline": {**values, "steps": trees}}
    return ComposedPipeline(
        _pipeline(name, request.cfg, made), OmegaConf.to_yaml(OmegaConf.create(tree))
    )


def _options(cfg: "DictConfig") -> dict[str, Any]:
    """The pipeline's own options; raises where a value has yet to be given."""
    options = {key: value for key, value in resolve.raw(cfg.pipeline).items() if key != "steps"}
    missing = [f"pipeline.{key}" for key, value in options.items() if value == MISSING]
    if missing:
        raise ConfigError("\n".join(f"{key} is required: add {key}=VALUE" for key in missing))
    return options


def _with_choices(settings: Mapping[str, Any], references: References) -> dict[str, Any]:
    """Settings with the names of files put in, which have to be known before composing."""
    return {
        key: references.put_in(value) if key in step_files.CHOICES else value
        for key, value in settings.items()
    }


def _composed(
    overrides: list[str], references: References, above: list[StepConfig]
) -> tuple["DictConfig", Config]:
    """What the step's stage would have been composed to alone, references put in; its config."""
    from omegaconf import OmegaConf

    values: dict[str, Any] = references.put_in(resolve.raw(compose_one(overrides)))
    cfg = OmegaConf.create(values)
    if above and resolve.raw(cfg.stage).get("input", "") in (None, MISSING):
        named = {"": [*map(resolve.absolute_location, locations_in(_inputs(cfg)))]}
        if not any(reads(named, step.config.output) for step in above):
            cfg.stage.input = references.put_in(f"${{steps.{above[-1].name}.output}}")
    return cfg, from_omegaconf(cfg, _stage_name(overrides))


def _retry_overrides(
    config: Config, needs: tuple[str, ...], above: list[StepConfig]
) -> tuple[str, str]:
    """What ``retry_failed=true`` of the whole pipeline means for a step.

    It is for those steps that leave failures in finished shards, and the first of them in a chain;
    the steps behind take in what becomes of them.
    """
    is_behind = any(
        step.config.retry_failed or step.config.extend for step in above if step.name in needs
    )
    can_retry = type(config.stage).plan_retries is not Stage.plan_retries
    is_retried = can_retry and not is_behind
    return f"retry_failed={is_retried}", f"extend={is_behind}"


def _inputs(cfg: "DictConfig") -> dict[str, Any]:
    return {key: resolve.plain(cfg.stage, key, "stage.") for key in cfg.stage if key != "output"}


def _stage_name(overrides: Iterable[str]) -> str:
    return next(text.partition("=")[2] for text in overrides if text.startswith("stage="))


def _needs(config: Config, above: list[StepConfig]) -> tuple[str, ...]:
    return tuple(s.name for s in above if may_read(config.stage_options, s.config.output))


def _check_together(steps: list[StepConfig]) -> None:
    for number, step in enumerate(steps):
        for later in steps[number + 1 :]:
            if reads(step.config.stage_options, later.config.output):
                raise ConfigError(
                    f"step {step.name} reads the output of step {later.name}: put it below that one"
                )
            for key in ("run_dir", "output"):
                if getattr(step.config, key) == getattr(later.config, key):
                    raise ConfigError(
                        f"steps {step.name} and {later.name} have the same {key}, "
                        f"{getattr(step.config, key)}: give each its own"
                    )


def _pipeline(name: str, cfg: "DictConfig", steps: list[StepConfig]) -> PipelineConfig:
    fingerprint = resolve.fingerprint({step.name: step.config.fingerprint for step in steps})
    run_name = resolve.plain(cfg, "run_name")
    label = fingerprint[:8] if run_name is None else f"{run_name}-{fingerprint[:8]}"
    runs = resolve.absolute_location(str(resolve.plain(cfg.paths, "runs", "paths.")))
    return PipelineConfig(
        name=name,
        fingerprint=fingerprint,
        path=f"{runs}/{name}/{label}",
        steps=tuple(steps),
        wait=convert(resolve.plain(cfg, "wait"), bool, "wait"),
    )
