"""Room on real small disks, and what a quota leaves of it, before anything is started."""

import os
import subprocess
import time

import pytest

from hpcpipe.errors import ConfigError
from hpcpipe.launch import quota
from hpcpipe.launch.quota import Room, rooms
from hpcpipe.manifest.rundir import RunDir
from tests.toys.runs import run_here, toy_config, write_inputs
from tests.toys.toy import Toy

# What quota 4.06 and lfs 2.15 print; groups other than the one files are made with do not count.
QUOTA = """\
Disk quotas for user {user} (uid {uid}):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
nfs1:/export/home-with-a-long-name  900000*  800000  1000000  1795272387    120      0   1000       0
Disk quotas for group staff (gid {gid}):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
nfs1:/export/home-with-a-long-name       7       0       0       0     120      0      0       0
Disk quotas for group other (gid 99999):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
nfs1:/export/home-with-a-long-name       7       0       8       0     120      0      0       0
"""  # noqa: E501
LFS = """\
     /mnt/lustre/a/very/long/mount/point
                     {used}  500000  600000       -      12       0      20       -
"""


@pytest.fixture
def disk(tmp_path):
    """A filesystem of 4 MiB and 1,000 inodes."""
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=1000"]
    subprocess.run(["mount", *options, "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a command of some name and text on the PATH."""

    def make(name, script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    return make


@pytest.fixture
def copies(monkeypatch):
    """The toy stage says that it writes as much as it reads."""
    monkeypatch.setattr(Toy, "estimated_output_bytes", lambda self, num_bytes: num_bytes)


def big_inputs(folder):
    """Three inputs of 2 MiB each."""
    write_inputs(folder, **{name: "x" * (2 << 20) for name in "abc"})


def test_what_cannot_fit_is_refused_before_any_worker(tmp_path, disk, copies):
    big_inputs(tmp_path)
    config = toy_config(tmp_path, stage__output=str(disk / "out"))
    refusal = (
        r"stage\.output .*/disk/out: about 6\.0 MiB are to be written, 4\.0 MiB are left on the "
        rf"filesystem of {disk}\. .*run\.check_space=false"
    )
    with pytest.raises(ConfigError, match=refusal):
        run_here(config)
    run_dir = next((tmp_path / "runs" / "toy").iterdir())
    assert RunDir(run_dir).read_launches() == []
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    assert run_here(config).exit_code == 0


def test_only_what_is_left_to_do_counts(tmp_path, disk, copies):
    big_inputs(tmp_path)
    output = str(disk / "out")
    assert run_here(toy_config(tmp_path, stage__output=output, limit=1)).exit_code == 0
    subprocess.run(["mount", "-o", "remount,size=7m", disk], check=True)
    assert run_here(toy_config(tmp_path, stage__output=output)).exit_code == 0


def test_one_may_go_on_anyway(tmp_path, disk, copies, capsys):
    big_inputs(tmp_path)
    config = toy_config(tmp_path, stage__output=str(disk / "out"), run__check_space=False)
    assert run_here(config).exit_code == 4
    assert "warning: stage.output" in capsys.readouterr().err


def test_what_will_be_tight_is_told(tmp_path, disk, copies, capsys):
    write_inputs(tmp_path, a="x" * (3 << 20), b="x" * (750 << 10))
    run_here(toy_config(tmp_path, stage__output=str(disk / "out")))
    assert "warning: stage.output" in capsys.readouterr().err


def test_a_disk_that_is_nearly_full_is_told_where_nobody_knows_the_need(tmp_path, disk, capsys):
    (disk / "other").write_bytes(bytes((4 << 20) - (36 << 10)))
    write_inputs(tmp_path, a="one")
    assert run_here(toy_config(tmp_path, stage__output=str(disk / "out"))).exit_code == 0
    assert "KiB are left on the filesystem of" in capsys.readouterr().err


def test_files_are_counted_too(tmp_path, disk, capsys):
    write_inputs(tmp_path, **{f"s{n}": "x" for n in range(20)})
    subprocess.run(["mount", "-o", "remount,nr_inodes=15", disk], check=True)
    config = toy_config(tmp_path, stage__output=str(disk / "out"), limit=3)
    assert run_here(config).exit_code == 0
    config = toy_config(tmp_path, stage__output=str(disk / "out"))
    run_here(config)
    assert "17 files are to be made, 8 can be on the filesystem" in capsys.readouterr().err


def test_a_run_directory_without_room_is_refused_whole(tmp_path, disk):
    write_inputs(tmp_path, a="one")
    subprocess.run(["mount", "-o", "remount,nr_inodes=100", disk], check=True)
    with pytest.raises(
        ConfigError, match=r"run directory .* cannot be made: No space left.*or files"
    ):
        run_here(toy_config(tmp_path, paths__runs=str(disk)))
    subprocess.run(["mount", "-o", "remount,nr_inodes=277", disk], check=True)
    with pytest.raises(ConfigError, match=r"8 files are to be made, \d can be on the filesystem"):
        run_here(toy_config(tmp_path, paths__runs=str(disk)))
    assert not [path for path in (disk / "toy").iterdir() if path.name.startswith(".")]


def test_a_quota_is_asked_for(tmp_path, tool, copies):
    text = QUOTA.format(user="me", uid=os.getuid(), gid=os.getegid())
    tool("quota", f"echo \"$@\" > {tmp_path}/asked\ncat <<'END'\n{text}END\nexit 1")
    found = list(rooms(tmp_path))
    assert found[1] == Room(100_000 * 1024, 880, found[1].limit)
    assert found[1].limit.startswith("of the user quota on /")
    assert found[2][:2] == (None, None)
    assert len(found) == 3
    assert (tmp_path / "asked").read_text().startswith("-w -p -u -g -f /")
    write_inputs(tmp_path, **{f"s{n}": "x" for n in range(900)})
    tool("quota", f"cat <<'END'\n{text.replace('900000*', '999999 ')}END")
    with pytest.raises(ConfigError, match=r"about .* are to be written, .* user quota"):
        run_here(toy_config(tmp_path))


def test_lustre_is_asked_its_own_way(tmp_path, tool, monkeypatch):
    (tmp_path / "mounts").write_text(
        f"rootfs / rootfs rw 0 0\n10.0.0.1@o2ib:/x {tmp_path} lustre rw 0 0\n"
    )
    monkeypatch.setattr(quota, "_MOUNTS", tmp_path / "mounts")
    answer = LFS.format(used="499000")
    tool("lfs", f'[ "$3" = -u ] && cat <<\'END\'\n{answer}END\necho "$@" >> {tmp_path}/asked')
    found = list(rooms(tmp_path))
    assert found[1:] == [Room(101_000 * 1024, 8, f"of the user quota on {tmp_path}")]
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"quota -q -u {os.getuid()} {tmp_path}",
        f"quota -q -g {os.getegid()} {tmp_path}",
    ]


def test_a_tool_that_hangs_or_fails_is_not_waited_for(tmp_path, tool, monkeypatch):
    monkeypatch.setattr(quota, "TIMEOUT_S", 0.2)
    tool("quota", "exec sleep 60")
    began = time.monotonic()
    assert len(list(rooms(tmp_path))) == 1
    assert time.monotonic() - began < 30
    tool("quota", "echo 'quota: error while getting quota from nfs1: timed out' >&2; exit 1")
    assert len(list(rooms(tmp_path))) == 1
