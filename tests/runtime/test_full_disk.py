"""A disk that is really full, or really read-only."""

import subprocess
import threading
from pathlib import Path

import pytest

from hpcpipe.errors import SetupError
from tests.toys.runs import events_of, parts_left, run_here, state_of, toy_config, write_inputs


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 256 KiB and 64 files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = "size=256k,nr_inodes=64"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def remount(disk, options):
    return subprocess.run(["mount", "-o", f"remount,{options}", disk], capture_output=True)


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
    assert remount(small_disk, "size=4m").returncode == 0
    assert run_here(config).exit_code == 0
    assert len(list(Path(output).glob("*.out"))) == 20


def test_a_filesystem_without_room_for_another_file_is_none_of_the_shards_fault(
    tmp_path, small_disk, capsys
):
    write_inputs(tmp_path, **{f"s{n:02d}": "x" for n in range(80)})
    output = str(small_disk / "out")
    config = toy_config(tmp_path, stage__output=output)
    started = run_here(config)
    assert started.exit_code == 4
    assert f"No space left on device: '{output}/.s" in capsys.readouterr().err
    assert state_of(started.run_dir, config).counts()["quarantined"] == 0
    assert events_of(started.run_dir, "failed") == []
    assert parts_left(small_disk) == []
    assert remount(small_disk, "size=4m,nr_inodes=200").returncode == 0
    assert run_here(config).exit_code == 0
    assert len(list(Path(output).glob("*.out"))) == 80


def test_an_output_that_becomes_read_only_stops_the_worker(tmp_path, small_disk, capsys):
    write_inputs(tmp_path, **{f"s{n:02d}": "slow 0.02" for n in range(40)})
    output = small_disk / "out"
    config = toy_config(tmp_path, stage__output=str(output))
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run_here(config)))
    thread.start()
    while not list(output.glob("*.out")) or remount(small_disk, "ro").returncode:
        assert thread.is_alive()
    thread.join()
    (started,) = ended
    assert started.exit_code == 4
    assert "Read-only file system" in capsys.readouterr().err
    assert state_of(started.run_dir, config).counts()["quarantined"] == 0
    with pytest.raises(SetupError, match="mounted read-only here"):
        run_here(config)
    assert remount(small_disk, "rw").returncode == 0
    assert run_here(config).exit_code == 0
    assert events_of(started.run_dir, "failed") == []
    assert parts_left(small_disk) == []


def test_a_run_directory_that_is_read_only_is_left_as_it_is(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    write_inputs(tmp_path, a="one", b="two")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    try:
        config = toy_config(tmp_path, paths__runs=str(disk / "runs"), limit=1)
        assert run_here(config).exit_code == 0
        assert remount(disk, "ro").returncode == 0
        config = toy_config(tmp_path, paths__runs=str(disk / "runs"))
        with pytest.raises((OSError, SetupError), match=r"read-only|Read-only"):
            run_here(config)
        assert remount(disk, "rw").returncode == 0
        assert run_here(config).exit_code == 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
