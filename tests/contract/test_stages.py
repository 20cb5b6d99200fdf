"""Every stage's YAML and class fit together, and every option is explained."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcpipe.compose import conf_files
from hpcpipe.config.convert import MISSING, field_types
from hpcpipe.stage import Stage

CONF = Path(__file__).parents[2] / "conf"
STAGES = sorted((CONF / "stage").glob("*.yaml"))
PIPELINES = sorted((CONF / "pipeline").glob("*.yaml"))
OTHERS = sorted(set(CONF.rglob("*.yaml")) - set(STAGES))


def name(file: Path) -> str:
    return str(file.relative_to(CONF).with_suffix(""))


def values(file: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(file.read_text())
    return {key: loaded[key] for key in loaded if key not in ("defaults", "_target_", "hydra")}


def stage_class(file: Path) -> type[Stage]:
    module, _, cls = yaml.safe_load(file.read_text())["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), cls)


def test_there_are_stages():
    assert "stage/reshard" in map(name, STAGES)


@pytest.mark.parametrize("file", STAGES, ids=name)
def test_the_yaml_has_exactly_the_fields_of_the_class(file):
    assert sorted(values(file)) == sorted(field_types(stage_class(file)))


@pytest.mark.parametrize("file", STAGES, ids=name)
def test_the_class_is_a_frozen_dataclass_without_values(file):
    cls = stage_class(file)
    assert issubclass(cls, Stage)
    assert cls.__dataclass_params__.frozen
    given = [field.name for field in dataclasses.fields(cls) if has_default(field)]
    assert given == [], "values live in the YAML alone"


def has_default(field: dataclasses.Field) -> bool:
    return not (field.default is field.default_factory is dataclasses.MISSING)


@pytest.mark.parametrize("file", STAGES, ids=name)
def test_the_yaml_alone_makes_the_stage_but_for_what_is_required(file):
    from hpcpipe.compose.api import compose_run

    required = {key for key, value in values(file).items() if value == MISSING} | {"input"}
    config = compose_run(file.stem, **dict.fromkeys(required, "/data/x"))
    assert dataclasses.is_dataclass(config.stage)
    assert (config.stage.output, config.stage_name) == (None, file.stem)


@pytest.mark.parametrize("file", PIPELINES, ids=name)
def test_a_pipeline_needs_nothing_but_what_is_required(file):
    from hpcpipe.compose.pipeline_api import compose_pipeline

    required = {key for key, value in values(file).items() if value == MISSING}
    pipeline = compose_pipeline(file.stem, **{key: f"/data/{key}" for key in required})
    assert [step.name for step in pipeline.config.steps] == list(values(file)["steps"])
    assert any(step.needs for step in pipeline.config.steps)


@pytest.mark.parametrize("file", [*STAGES, *OTHERS], ids=name)
def test_every_file_and_every_option_has_a_comment(file):
    text = file.read_text()
    assert conf_files.summary(text)
    options = conf_files.options(text)
    assert [option.name for option in options] == list(values(file))
    assert [option.name for option in options if not option.comment and option.value] == []


def test_run_options_are_all_explained():
    lines = (CONF / "config.yaml").read_text().partition("\nrun:\n")[2].splitlines()
    keys = [line for line in lines[: lines.index("")] if line.strip()]
    assert len(keys) > 5
    assert [line for line in keys if " # " not in line] == []
