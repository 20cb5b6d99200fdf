"""``rewrite_captions`` under workers that are killed and stopped, and servers that go away."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.servers.gate import gate
from tests.servers.llm_process import llm_server
from tests.stages.rewriting import write_captions
from tests.waiting import wait_until

NUM = 200
IN_FLIGHT = 4
SOON = """
from hpcpipe.__main__ import main
from hpcpipe.stages import _rewrite_shard
_rewrite_shard.SAVE_EVERY_S = 0.0
main()
"""


@pytest.fixture
def server():
    with llm_server("llm_simulated", "--seconds", "0.05") as url:
        yield url


@pytest.fixture(autouse=True)
def _captions(tmp_path):
    write_captions(tmp_path, {f"k{number}": f"a photo of nurse {number}" for number in range(NUM)})


def worker(folder, url, *settings):
    """The command, as a process that saves after each answer."""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", SOON, "stage=rewrite_captions", "stage.input=captions"),
            *("stage.output=out", f"stage.servers.urls=[{url}]", "run_name=rewrite"),
            *(f"stage.servers.max_in_flight={IN_FLIGHT}", "stage.attempts=1", *settings),
        ],
        cwd=folder, env={**os.environ, "HPCPIPE_RUNS": str(folder / "runs")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def num_answered(url):
    with urllib.request.urlopen(f"{url}/count", timeout=30) as answer:
        return json.load(answer)["num_answered"]


def finish(process):
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 0, shown
    return shown


def made(folder):
    prompts = json.loads((folder / "out" / "00000.json").read_text())
    assert list(prompts) == [f"k{number}.json" for number in range(NUM)]
    lines = (folder / "out" / "00000.meta.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_only_the_rest_is_asked_again(tmp_path, server, number):
    first = worker(tmp_path, server)
    wait_until(lambda: num_answered(server) >= NUM // 4)
    first.send_signal(number)
    first.communicate(timeout=200)
    assert not (tmp_path / "out" / "00000.json").exists()
    assert NUM // 4 <= num_answered(server) < NUM
    shown = finish(worker(tmp_path, server))
    assert {row["status"] for row in made(tmp_path)} == {"made"}
    assert NUM <= num_answered(server) - 2 <= NUM + 2 * IN_FLIGHT  # each worker probed once
    assert f"samples {NUM}" in shown
    assert list((tmp_path / "runs").rglob("partial/*/*")) == []


def test_a_server_that_goes_away_and_comes_back_costs_nothing(tmp_path, server):
    with gate(server) as way:
        process = worker(tmp_path, way.url, "stage.servers.ready_s=1", "run.max_attempts=1")
        wait_until(lambda: num_answered(server) >= NUM // 4)
        way.shut()
        logs = tmp_path / "runs"
        text = "not its fault, given back"
        wait_until(lambda: any(text in log.read_text() for log in logs.rglob("*.log")))
        way.open()
        finish(process)
    assert {(row["status"], row["tries"]) for row in made(tmp_path)} == {("made", 1)}
    assert num_answered(server) <= NUM + 2 * IN_FLIGHT + 10
