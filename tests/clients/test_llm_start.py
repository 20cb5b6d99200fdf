"""Servers that a worker starts: they are there, come back, and are gone when it is."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcpipe.clients import llm_start
from hpcpipe.clients.llm_start import StartedServers
from hpcpipe.errors import SetupError
from tests.clients.llm import ask, client
from tests.servers.llm_process import ROOT, answers
from tests.waiting import wait_until

SIMULATED = ROOT / "tests" / "servers" / "llm_simulated.py"


def command(folder, before=""):
    """Starts a simulated server, which notes its process id and that of a child of its own."""
    server = shlex.join([sys.executable, str(SIMULATED), "--seconds", "0.001"])
    script = f"{before} sleep 1000 & echo $! $$ > {folder}/{{port}}.pid; exec {server} {{port}}"
    return f"sh -c {shlex.quote(script)}"


def pids(folder):
    """Of all processes of all servers that were started, once they have said so."""
    found = [path.read_text().split() for path in Path(folder).glob("*.pid")]
    return [int(pid) for pair in found for pid in pair]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(servers):
    asker = client(servers.urls)
    asker.wait_until_ready(lambda server: servers.check(server.url))
    return asker


def test_servers_are_started_asked_and_stopped_with_all_they_started(tmp_path):
    with StartedServers(command(tmp_path), 2, tmp_path) as servers:
        found, _ = ask(started(servers), ["a", "b", "c"])
        assert {one.text for one in found.values()} == {f"rewritten: {text}" for text in "abc"}
        wait_until(lambda: len(pids(tmp_path)) == 4)
        assert all(map(is_alive, pids(tmp_path)))
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))))


def test_a_server_that_does_not_hear_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(llm_start, "_GRACE_S", 0.2)
    deaf = (
        f"sh -c 'trap \"\" TERM; echo $$ $$ > {tmp_path}/{{port}}.pid; while :; do sleep 1; done'"
    )
    with StartedServers(deaf, 1, tmp_path):
        wait_until(lambda: pids(tmp_path))
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))))


KILLED = """
import sys
from pathlib import Path
from hpcpipe.clients.llm_start import StartedServers
with StartedServers(sys.argv[1], 2, Path(sys.argv[2])):
    sys.stdin.read()
"""


def test_servers_die_with_a_worker_that_is_killed(tmp_path):
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, command(tmp_path), tmp_path],
        cwd=ROOT, stdin=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: len(pids(tmp_path)) == 4)
    ports = [path.stem for path in tmp_path.glob("*.pid")]
    wait_until(lambda: all(answers(f"http://127.0.0.1:{port}") for port in ports))
    worker.kill()
    worker.communicate()
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))))


def test_a_server_that_dies_is_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(llm_start, "_RESTART_AFTER_S", 0.0)
    with StartedServers(command(tmp_path), 1, tmp_path) as servers:
        asker = started(servers)
        os.kill(pids(tmp_path)[1], signal.SIGKILL)
        wait_until(lambda: not answers(servers.urls[0]))

        def restart():
            servers.restart_dead()
            return False

        found, _ = ask(asker, ["a"], should_end=restart)
        assert (found["a"].text, found["a"].num_tries) == ("rewritten: a", 1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("sh -c 'echo no such model {port} >&2; exit 3'", "status 3:\nno such model"),
        ("/no/such/server {port}", "cannot start /no/such/server: No such file"),
    ],
)
def test_a_command_that_fails_is_told_with_what_it_wrote(tmp_path, bad, said):
    with (
        StartedServers(bad, 1, tmp_path) as servers,
        pytest.raises(SetupError, match=r"stage\.servers\.start\.command") as caught,
    ):
        started(servers)
    assert said in str(caught.value)


def test_ports_and_gpus_are_put_into_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    note = f"sh -c 'echo {{port}} {{gpu}} > {tmp_path}/{{port}}.seen; exec sleep 1000'"
    with StartedServers(note, 3, tmp_path) as servers:
        wait_until(lambda: len([one for one in tmp_path.glob("*.seen") if one.read_text()]) == 3)
        seen = dict(path.read_text().split() for path in tmp_path.glob("*.seen"))
        assert [seen[url.rpartition(":")[2]] for url in servers.urls] == ["4", "7", "4"]
