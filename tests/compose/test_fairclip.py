"""The FairCLIP pipeline's file: which step needs which, and that what its page says composes."""

import re
import shlex
from pathlib import Path

import pytest

from hpcpipe.compose.pipeline import compose_pipelines
from hpcpipe.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "fairclip.md").read_text()
GIVEN = ["pipeline=fairclip", "pipeline.input=/data/shards/*.tar", "pipeline.output=/data/hybrid"]


def steps(*overrides):
    (pipeline,) = compose_pipelines("fairclip", [], [*GIVEN, *overrides])
    return {step.name: step for step in pipeline.config.steps}


def test_each_step_needs_the_ones_whose_output_it_reads():
    needs = {name: step.needs for name, step in steps().items()}
    assert needs == {
        "faces": (),
        "rewrite": ("faces",),
        "generate": ("faces", "rewrite"),
        "reshard": ("generate",),
    }


def test_only_images_are_made_on_gpus():
    gpus = {name: step.config.resources.gpus for name, step in steps().items()}
    assert gpus == {"faces": 0, "rewrite": 0, "generate": 1, "reshard": 0}


@pytest.mark.parametrize(
    "said", re.findall(r"`((?:'[+~]?|[+~]?)(?:pipeline|rewrite|generate)\.\w[^`]*=[^`]*)`", PAGE)
)
def test_settings_that_the_page_names_can_be_given(said):
    steps(*shlex.split(said))


def test_a_server_that_workers_start_takes_the_place_of_the_others():
    found = steps("pipeline.start_server='serve {port}'", "pipeline.servers=[]")
    servers = found["rewrite"].config.stage.servers
    assert (servers.start.command, servers.urls) == ("serve {port}", [])


def test_a_wrong_value_is_called_what_was_typed():
    url = "http://node1:11434"
    with pytest.raises(ConfigError) as error:
        steps(f"pipeline.servers={url}")
    assert str(error.value) == (
        f"step rewrite: pipeline.servers: expected a list, got str '{url}' "
        f"(for one, in brackets: 'pipeline.servers=[{url}]')"
    )


def test_retrying_is_for_the_step_with_failures_and_those_behind_take_it_in():
    found = steps("retry_failed=true")
    flags = {name: (s.config.retry_failed, s.config.extend) for name, s in found.items()}
    assert flags == {
        "faces": (False, False),
        "rewrite": (True, False),
        "generate": (False, True),
        "reshard": (False, True),
    }
    assert "extend: true" in found["generate"].config.text, "what its plan job reads"
