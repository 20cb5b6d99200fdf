import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hpcpipe.errors import LaunchError
from hpcpipe.launch.start import start
from hpcpipe.manifest.identity import Identity
from tests.toys.runs import events_of, parts_left, state_of, toy_config, write_inputs
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


def local(folder, name="toy", **values):
    return toy_config(folder, name, launcher="local", **values)


def identities(run_dir):
    return [
        msgspec.json.decode(p.read_bytes(), type=Identity) for p in run_dir.glob("workers/*.json")
    ]


@pytest.fixture
def command(tmp_path):
    """Start `launcher=local -m` in a process of its own; its output goes to files."""
    children = []

    def run(**values):
        settings = ", ".join(f"{key}={value!r}" for key, value in values.items())
        code = (
            "import sys; from pathlib import Path; from tests.toys.runs import toy_config\n"
            "from hpcpipe.launch.start import start\n"
            f"config = toy_config(Path({str(tmp_path)!r}), launcher='local', {settings})\n"
            "sys.exit(start(config, 'submit').exit_code)"
        )
        with (tmp_path / "stdout").open("w") as out, (tmp_path / "stderr").open("w") as err:
            children.append(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    cwd=ROOT,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            )
        return children[-1]

    yield run
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_who_follows_a_run_sees_what_workers_warn_of_once(tmp_path, command):
    write_inputs(tmp_path, a=f"warn {tmp_path / 'open'}", b=f"warn {tmp_path / 'open'}")
    process = command(launcher__num_workers=2, run__heartbeat_s=0.2)
    warned = "warning: half of it fails (local-1-"
    wait_until(lambda: warned in (tmp_path / "stderr").read_text())
    (tmp_path / "open").touch()
    assert process.wait(60) == 0
    assert (tmp_path / "stderr").read_text().count(warned) == 1


def test_workers_share_the_shards_and_the_bytes_are_the_same_as_here(tmp_path):
    write_inputs(tmp_path, **{f"s{n:02d}": "slow 0.05" for n in range(20)})
    started = start(local(tmp_path, launcher__num_workers=3), "submit")
    assert started.exit_code == 0
    assert len(identities(started.run_dir)) == 3
    assert sorted(e.shard for e in events_of(started.run_dir, "done")) == [
        f"s{n:02d}" for n in range(20)
    ]
    here = start(toy_config(tmp_path, run_name="here"), "here")
    for name in (f"s{n:02d}.out" for n in range(20)):
        assert (started.run_dir / "out" / name).read_bytes() == (
            here.run_dir / "out" / name
        ).read_bytes()


def test_ctrl_c_stops_cleanly_and_the_run_can_be_resumed(tmp_path, command):
    write_inputs(tmp_path, a="one", b="wait", c="wait")
    child = command()
    run_dir = Path(local(tmp_path).run_dir)
    wait_until(lambda: run_dir.exists() and len(parts_left(run_dir)) == 2)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(30) == 130
    assert "can be resumed" in (tmp_path / "stdout").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert parts_left(run_dir) == []
    assert not any(Path(f"/proc/{i.pid}").exists() for i in identities(run_dir))
    write_inputs(tmp_path, b="two", c="three")
    assert start(local(tmp_path, extend=True), "submit").exit_code == 0
    assert state_of(run_dir, local(tmp_path)).counts()["done"] == 3


def test_a_second_ctrl_c_ends_workers_that_do_not_listen(tmp_path, command):
    write_inputs(tmp_path, a="hang", b="hang")
    child = command()
    run_dir = Path(local(tmp_path).run_dir)
    wait_until(lambda: run_dir.exists() and len(parts_left(run_dir)) == 2)
    child.send_signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again" in (tmp_path / "stderr").read_text())
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 130
    pids = [i.pid for i in identities(run_dir)]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_killed_workers_shard_is_done_by_another(tmp_path, command):
    write_inputs(tmp_path, a="kill 2", b="slow 1", c="three")
    child = command(run__lease_s=1000)
    assert child.wait(60) == 0
    run_dir = Path(local(tmp_path).run_dir)
    assert [e.attempt for e in events_of(run_dir, "lost")] == [1]
    assert "was killed" in (tmp_path / "stderr").read_text()
    assert (run_dir / "out" / "a.out").read_text() == "hello KILL 2"


def test_workers_end_when_the_command_that_started_them_is_killed(tmp_path, command):
    write_inputs(tmp_path, **{f"s{n:02d}": "slow 0.2" for n in range(60)})
    child = command()
    run_dir = Path(local(tmp_path).run_dir)
    wait_until(lambda: len(identities(run_dir)) == 2 and events_of(run_dir, "done"))
    child.kill()
    child.wait()
    pids = [i.pid for i in identities(run_dir)]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert state_of(run_dir, local(tmp_path)).pending()


def test_workers_that_cannot_set_up_say_so_once_each_and_take_nothing(tmp_path, capsys):
    write_inputs(tmp_path, a="one", b="two")
    started = start(local(tmp_path, stage__broken_setup=True), "submit")
    assert started.exit_code == 4
    assert "SetupError: the model is missing" in capsys.readouterr().err
    assert events_of(started.run_dir, "done", "failed", "closed") == []


def test_every_worker_has_gpus_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-7a,5")
    write_inputs(tmp_path, a="meet 2", b="meet 2")
    started = start(local(tmp_path, "placed", resources__gpus=1), "submit")
    said = [(started.run_dir / "out" / f"{name}.out").read_text() for name in "ab"]
    assert sorted(said) == ["cuda 4 MEET 2", "cuda MIG-7a MEET 2"]


def test_more_workers_than_gpus_are_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    write_inputs(tmp_path, a="x")
    with pytest.raises(LaunchError, match=r"num_workers=2 with resources.gpus=2 need 4 GPUs"):
        start(local(tmp_path, resources__gpus=2), "submit")
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
