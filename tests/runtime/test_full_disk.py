"""A disk that is really full."""

import subprocess
from pathlib import Path

import pytest

from tests.toys.runs import events_of, parts_left, run_here, state_of, toy_config, write_inputs


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_nothing_is_lost_or_half_written_and_it_goes_on_once_there_is_room(tmp_path, small_disk):
    text = "x" * 30_000
    write_inputs(tmp_path, **{f"s{n:02d}": text for n in range(20)})
    output = str(small_disk / "out")
    config = toy_config(tmp_path, stage__output=output)
    started = run_here(config)
    assert started.exit_code == 4
    state = state_of(started.run_dir, config)
    num_done = state.counts()["done"]
    assert 3 <= num_done < 20
    assert state.counts()["quarantined"] == 0
    assert events_of(started.run_dir, "failed") == []
    assert parts_left(small_disk) == []
    finished = sorted(Path(output).glob("*.out"))
    assert len(finished) == num_done
    assert all(len(path.read_bytes()) == 30_006 for path in finished)
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert run_here(config).exit_code == 0
    assert len(list(Path(output).glob("*.out"))) == 20
