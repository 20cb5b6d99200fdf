"""What a stage enters in `WorkerContext.exit_stack` is closed, however its worker ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.errors import SetupError
from hpcpipe.runtime.watchdog import EXIT_HUNG
from tests.toys.runs import events_of, run_here, state_of, toy_config, write_inputs
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
CODE = (
    "import sys; from pathlib import Path; from tests.toys.runs import *\n"
    "from hpcpipe.launch.start import start\n"
    "config = toy_config(Path(sys.argv[1]), 'holding', launcher='local', {settings})\n"
    "sys.exit(start(config, {how!r}).exit_code)"
)


def held(folder):
    path = folder / "held.txt"
    return path.read_text().splitlines() if path.exists() else []


def start_command(folder, how, settings=""):
    code = CODE.format(settings=settings, how=how)
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT)


def test_it_is_closed_once_after_the_last_shard_and_before_the_worker_has_ended(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    assert run_here(toy_config(tmp_path, "holding")).exit_code == 0
    assert held(tmp_path) == ["opened", "closed while working, scratch True"]


def test_an_error_in_closing_is_logged_and_spoils_nothing(tmp_path):
    write_inputs(tmp_path, a="one")
    config = toy_config(tmp_path, "holding", stage__word="fail")
    assert run_here(config).exit_code == 0
    assert state_of(Path(config.run_dir), config).counts()["done"] == 1
    (log,) = Path(config.run_dir).glob("logs/*.log")
    assert "the server is gone" in log.read_text()
    assert held(tmp_path) == ["opened", "closed while working, scratch True"]


def test_it_is_closed_where_the_setup_fails_after_it(tmp_path):
    write_inputs(tmp_path, a="one")
    with pytest.raises(SetupError, match="model is missing"):
        run_here(toy_config(tmp_path, "holding", stage__broken_setup=True))
    assert held(tmp_path) == ["opened", "closed while starting, scratch True"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_closed_where_a_signal_stops_the_command(tmp_path, number):
    write_inputs(tmp_path, a="wait")
    with start_command(tmp_path, "submit") as child:
        wait_until(lambda: held(tmp_path))
        child.send_signal(number)
        child.wait(60)
    wait_until(lambda: len(held(tmp_path)) == 2)
    assert held(tmp_path)[1].startswith("closed while")


@pytest.mark.parametrize("word", ["plain", "hang"])
def test_it_is_closed_where_a_hung_shard_ends_the_worker(tmp_path, word):
    write_inputs(tmp_path, a="hang")
    settings = f"run__shard_timeout_s=0.5, stage__word={word!r}"
    with start_command(tmp_path, "here", settings) as child:
        assert child.wait(60) == EXIT_HUNG
    assert held(tmp_path) == ["opened", "closed while ended, scratch True"]
    assert events_of(next((tmp_path / "runs").rglob("run.json")).parent, "failed")
