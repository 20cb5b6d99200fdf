"""The fault-injecting library itself: every rule fires where it should, and says so."""

import subprocess
import sys
import time

import pytest

from tests.faults.faults import ALL, Fault

SNIPPETS = {
    "open": "open(path).read()",
    "create": "open(path + '.new', 'x')",
    "read": "os.read(os.open(path, os.O_RDONLY), 9)",
    "write": "os.write(os.open(path, os.O_WRONLY), b'xy')",
    "fsync": "os.fdatasync(os.open(path, os.O_WRONLY))",
    "close": "os.close(os.open(path, os.O_WRONLY))",
    "rename": "os.rename(path, path + '.new')",
    "link": "os.link(path, path + '.new')",
    "unlink": "os.unlink(path)",
    "mkdir": "os.mkdir(path + '.new')",
    "stat": "os.stat(path)",
    "list": "os.listdir(os.path.dirname(path))",
    "truncate": "os.ftruncate(os.open(path, os.O_WRONLY), 0)",
    "copy": "os.copy_file_range(os.open(path, 0), os.open(path + '.new', os.O_CREAT | 1), 2)",
}
MORE = {
    "pread": ("read", "os.pread(os.open(path, os.O_RDONLY), 2, 0)"),
    "preadv": ("read", "os.preadv(os.open(path, os.O_RDONLY), [bytearray(2)], 0)"),
    "pwrite": ("write", "os.pwrite(os.open(path, os.O_WRONLY), b'xy', 0)"),
    "writev": ("write", "os.writev(os.open(path, os.O_WRONLY), [b'xy'])"),
    "buffered": ("write", "f = open(path, 'w'); f.write('xy'); f.flush()"),
    "fsync": ("fsync", "os.fsync(os.open(path, os.O_WRONLY))"),
    "sendfile": ("copy", "os.sendfile(os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY), 0, 2)"),
    "lstat": ("stat", "os.lstat(path)"),
    "access": ("stat", "os.access(path, os.R_OK) or os.stat(path)"),
    "scandir": ("list", "os.scandir(os.path.dirname(path))"),
    "dir_fd": ("unlink", "os.unlink('file', dir_fd=os.open(os.path.dirname(path), 0))"),
    "relative": ("stat", "os.chdir(os.path.dirname(path)); os.stat('file')"),
    "pyarrow": ("open", "import pyarrow.fs as f; f.LocalFileSystem().open_input_file(path)"),
}


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "file").write_text("text")
    return folder / "file"


def python(faults, code, path, who="", **kwargs):
    command = [sys.executable, "-c", f"import os, sys; path = sys.argv[1]; {code}", str(path)]
    env = faults.env(who, **kwargs)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("operation", SNIPPETS)
def test_every_operation_fails_by_its_rule_and_only_then(faults, path, operation):
    assert python(faults, SNIPPETS[operation], path).stderr == ""
    for other in path.parent.iterdir():
        other.unlink() if other.is_file() else other.rmdir()
    path.write_text("text")
    faults.set(Fault(operation, f"{path.parent}*", "EDQUOT"))
    failed = python(faults, SNIPPETS[operation], path)
    assert "[Errno 122] Disk quota exceeded" in failed.stderr
    (fired,) = faults.fired(operation, str(path.parent), "fail")
    assert fired.path in (str(path), f"{path}.new", str(path.parent))


@pytest.mark.parametrize("call", MORE)
def test_other_calls_for_the_same_are_caught_too(faults, path, call):
    operation, code = MORE[call]
    faults.set(Fault(operation, f"{path.parent}*"))
    assert "Errno 5] " in python(faults, code, path).stderr
    assert faults.fired(operation, str(path.parent), "fail")


def test_a_rename_may_fail_after_it_succeeded(faults, path):
    faults.set(Fault("rename", f"{path}*", "ESTALE", after=True))
    assert "Stale file handle" in python(faults, SNIPPETS["rename"], path).stderr
    assert [p.name for p in path.parent.iterdir()] == ["file.new"]
    assert faults.fired(what="fail after")


def test_a_write_may_be_short_or_torn(faults, path):
    faults.set(Fault("write", str(path), "short"))
    code = "print(os.write(os.open(path, os.O_WRONLY), b'12345678'))"
    assert python(faults, code, path).stdout == "4\n"
    faults.set(Fault("write", str(path), "ENOSPC", after=True))
    code = "os.write(os.open(path, os.O_WRONLY | os.O_TRUNC), b'abcdefgh')"
    assert "No space left" in python(faults, code, path).stderr
    assert path.read_text() == "abcd"


def test_a_rule_may_wait_for_its_call_and_fire_so_often(faults, path):
    faults.set(Fault("stat", str(path), skip=2, times=1))
    code = "print([os.path.exists(path) for _ in range(5)])"
    assert python(faults, code, path).stdout == "[True, True, False, True, True]\n"


def test_chance_can_be_repeated(faults, path):
    code = "print([os.path.exists(path) for _ in range(40)])"
    rules = [Fault("stat", str(path), chance=0.5, seed=seed) for seed in (1, 1, 2)]
    seen = []
    for rule in rules:
        faults.set(rule)
        seen.append(python(faults, code, path).stdout)
    assert seen[0] == seen[1] != seen[2]
    assert 5 < seen[0].count("False") < 35


def test_rules_can_be_for_one_process_and_for_a_time(faults, path):
    faults.set(Fault("stat", str(path), who="b*"))
    assert python(faults, "os.stat(path)", path, "a1").returncode == 0
    assert python(faults, "os.stat(path)", path, "b1").returncode == 1
    faults.set(Fault("stat", str(path), for_s=0.001))
    time.sleep(0.01)
    assert python(faults, "os.stat(path)", path).returncode == 0


def test_what_was_missing_is_believed_to_be_missing_for_a_while(faults, path):
    faults.set(Fault("stat,open,list", f"{path.parent}*", "negative", seconds=1000))
    code = """
import subprocess, time
folder = os.path.dirname(path)
print(os.path.exists(path + '.theirs'), os.path.exists(path + '.ours'), os.listdir(folder))
time.sleep(0.02)
subprocess.run(['touch', path + '.theirs'], env={})
open(path + '.ours', 'x').close()
print(os.path.exists(path + '.theirs'), os.path.exists(path + '.ours'), sorted(os.listdir(folder)))
os.link(path, path + '.linked')
print(os.path.exists(path + '.linked'))
"""
    printed = python(faults, code, path)
    assert printed.stdout.splitlines() == [
        "False False ['file']",
        "False True ['file', 'file.ours']",
        "True",
    ], printed.stderr
    assert faults.fired("stat", "file.theirs", "negative")
    assert faults.fired("list", "file.theirs", "unlisted")


def test_a_call_may_hang_until_the_rule_is_lifted(faults, path):
    faults.set(Fault("stat", str(path), "delay", seconds=1000))
    command = [sys.executable, "-c", "import os, sys; os.stat(sys.argv[1])", str(path)]
    with subprocess.Popen(command, env=faults.env()) as child:
        while not faults.fired("stat", what="delay"):
            assert child.poll() is None
            time.sleep(0.01)
        assert child.poll() is None
        faults.set()
        assert child.wait(60) == 0


@pytest.mark.parametrize("after", [False, True])
def test_a_process_may_die_at_a_call(faults, path, after):
    faults.set(Fault("unlink", str(path), "kill", after=after))
    assert python(faults, SNIPPETS["unlink"], path).returncode == -9
    assert path.exists() is not after


def test_a_process_may_have_a_clock_and_a_machine_of_its_own(faults, path):
    code = (
        "import socket, time; print(time.time(), socket.gethostname(), "
        "open('/proc/sys/kernel/random/boot_id').read().strip())"
    )
    faults.set(Fault("clock", what="shift", seconds=-3600))
    printed = python(faults, code, path, machine="elsewhere", host="other").stdout.split()
    assert printed[1:] == ["other", "elsewhere"]
    assert 3000 < time.time() - float(printed[0]) < 4200


def test_rules_change_in_a_process_that_runs_and_all_operations_have_a_bit(faults, path):
    code = """
import time
while True:
    try:
        os.stat(path)
    except OSError as error:
        sys.exit(error.errno)
    time.sleep(0.01)
"""
    command = [sys.executable, "-c", f"import os, sys\npath = sys.argv[1]{code}", str(path)]
    with subprocess.Popen(command, env=faults.env()) as child:
        time.sleep(0.1)
        assert child.poll() is None
        faults.set(Fault(ALL, str(path), "EROFS"))
        assert child.wait(60) == 30
