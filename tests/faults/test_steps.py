"""Every step of a run fails in every way: nothing is lost, nothing half-written has a name."""

import pytest

from tests.faults.driver import Driver
from tests.faults.faults import Fault
from tests.toys.runs import events_of, state_of, toy_config, write_inputs

ERRORS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EDQUOT": "Disk quota exceeded",
    "EROFS": "Read-only file system",
    "ESTALE": "Stale file handle",
}
WORDS = {"a": "one", "b": "two", "c": "three"}
RIDE = {"run__max_env_failures": 3, "run__lease_s": 0.3, "run__heartbeat_s": 0.05}

NUM_LISTED = 3
FIRST_BEAT = 1
NUM_PLAN_READS = 4  # of all of it, by the command and by the worker
COMMAND = {
    "look where it may write": ("stat", "*/claims/00"),
    "list the journals": ("list", "*/journal"),
    "read the plan": ("open", "*/plan.jsonl"),
    "read the journals": ("open,read", "*/journal/*"),
}
WORKER = {
    "write the identity": ("create,write,fsync,close", "*/workers/*.json"),
    "make the journal": ("create", "*/journal/*"),
    "make the heartbeat": ("create", "*/workers/*.beat"),
    "make the log": ("create", "*/logs/*.log"),
    "look for a claim": ("stat", "*/claims/*/*"),
    "claim": ("link", "*/claims/*"),
    "read a claim": ("open", "*/claims/*"),
    "read a shard's line": ("read", "*/plan.jsonl", NUM_PLAN_READS),
    "look at an input": ("stat", "*/in/*.txt", NUM_LISTED),
    "open an input": ("open", "*/in/*"),
    "read an input": ("read", "*/in/*"),
    "remove what others left": ("unlink", "*/out/*.part"),
    "stage": ("create", "*/out/*.part"),
    "write": ("write", "*/out/*.part"),
    "sync": ("fsync", "*/out/*.part"),
    "close": ("close", "*/out/*.part"),
    "rename": ("rename", "*/out/*"),
    "sync the folder": ("fsync", "*/out"),
    "write the journal": ("write", "*/journal/*"),
    "sync the journal": ("fsync", "*/journal/*"),
}
NOT_FATAL = {
    "beat": ("write", "*/workers/*.beat", FIRST_BEAT),
    "log": ("write", "*/logs/*.log"),
    "close the log": ("close", "*/logs/*.log"),
    "look for the stop file": ("stat", "*/STOP"),
}
SUCCEEDS = {
    "claim": ("link", "*/claims/*"),
    "rename": ("rename", "*/out/*"),
    "publish the marker": ("link", "*/.hpcpipe/*"),
    "publish the run": ("rename", "*/runs/toy/*"),
    "publish the launch": ("link", "*/launches/*.json"),
}
LAUNCH = {
    "make the run folder": ("mkdir", "*/runs/toy/*"),
    "write the plan": ("create,write,fsync,close", "*/plan.jsonl"),
    "list the inputs": ("list", "*/in"),
    "write the config": ("create,write,fsync,close", "*/config.yaml"),
    "write the identity of the run": ("create,write,fsync,close", "*/run.json"),
    "write the marker": ("create,write,fsync", "*/.hpcpipe/*"),
    "publish the marker": ("link", "*/.hpcpipe/*"),
    "publish the run": ("rename", "*/runs/toy/*"),
    "write the launch": ("create,write,fsync", "*/launches/.*.json*"),
    "publish the launch": ("link", "*/launches/*.json"),
    "write the launch's config": ("create,write,fsync", "*/launches/*.yaml*"),
}


@pytest.fixture(scope="module")
def driver(module_faults, tmp_path_factory):
    with Driver(module_faults) as driver:
        driver.config = toy_config(tmp_path_factory.mktemp("any"), **RIDE)
        yield driver


def run_dir_of(folder):
    """The run directory; a folder that does not exist where there is none yet."""
    return next((folder / "runs" / "toy").glob("[!.]*"), folder / "none")


def check_nothing_is_wrong(folder, config):
    """What must hold at any time."""
    run_dir = run_dir_of(folder)
    for path in (run_dir / "out").glob("*.out"):
        assert path.read_text() == f"hello {WORDS[path.stem].upper()}"
    if run_dir.exists():
        assert events_of(run_dir, "failed") == []
        assert state_of(run_dir, config).quarantined() == set()


def check_the_next_command_completes_it(driver, folder):
    ended = driver.run(folder, **RIDE)
    assert ended.exit_code == 0, ended.said
    run_dir = run_dir_of(folder)
    outputs = {path.name: path.read_text() for path in (run_dir / "out").glob("*.out")}
    assert outputs == {f"{name}.out": f"hello {word.upper()}" for name, word in WORDS.items()}
    assert {event.shard for event in events_of(run_dir, "done")} == set(WORDS)
    assert [path.name for path in run_dir.rglob(".*") if path.name != ".hpcpipe"] == []


def run_with(faults, driver, folder, rule):
    """Do a run whose calls fail."""
    write_inputs(folder, **WORDS)
    return go_on_with(faults, driver, folder, rule)


def go_on_with(faults, driver, folder, rule):
    before = len(faults.fired())
    faults.set(rule)
    ended = driver.run(folder, **RIDE)
    faults.set()
    assert faults.fired()[before:], "nothing was injected"
    assert "Traceback" not in ended.said
    check_nothing_is_wrong(folder, driver.config)
    return ended


def check_it_says_why(ended, error, folder):
    assert ended.exit_code == 4, ended.said
    assert ERRORS[error] in ended.said
    said = [line.partition(ERRORS[error]) for line in ended.said.splitlines()]
    assert any(word and (str(folder) in rest or "(shard " in rest) for _, word, rest in said)


TIMES = pytest.mark.parametrize("times", [1, 0], ids=["once", "always"])


@TIMES
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", WORKER)
def test_a_worker_waits_or_stops_with_a_reason(module_faults, driver, tmp_path, step, error, times):
    operations, path, *skip = WORKER[step]
    rule = Fault(operations, f"{tmp_path}{path}", error, times=times, skip=sum(skip))
    ended = run_with(module_faults, driver, tmp_path, rule)
    if times:
        assert ended.exit_code == 0, ended.said
    else:
        check_it_says_why(ended, error, tmp_path)
    check_the_next_command_completes_it(driver, tmp_path)


@TIMES
@pytest.mark.parametrize("step", NOT_FATAL)
def test_what_only_tells_of_the_work_stops_nobody(module_faults, driver, tmp_path, step, times):
    operations, path, *skip = NOT_FATAL[step]
    rule = Fault(operations, f"{tmp_path}{path}", "EIO", times=times, skip=sum(skip))
    ended = run_with(module_faults, driver, tmp_path, rule)
    assert ended.exit_code == 0, ended.said
    check_the_next_command_completes_it(driver, tmp_path)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", COMMAND)
def test_a_command_that_cannot_read_its_run_says_so(module_faults, driver, tmp_path, step, error):
    write_inputs(tmp_path, **WORDS)
    assert driver.run(tmp_path, limit=1, **RIDE).exit_code == 0
    operations, path = COMMAND[step]
    rule = Fault(operations, f"{tmp_path}{path}", error)
    ended = go_on_with(module_faults, driver, tmp_path, rule)
    check_it_says_why(ended, error, tmp_path)
    check_the_next_command_completes_it(driver, tmp_path)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", LAUNCH)
def test_a_launch_leaves_nothing_that_is_in_the_way(module_faults, driver, tmp_path, step, error):
    operations, path = LAUNCH[step]
    rule = Fault(operations, f"{tmp_path}{path}", error)
    ended = run_with(module_faults, driver, tmp_path, rule)
    assert ERRORS[error] in ended.said
    assert str(tmp_path) in ended.said
    assert ended.exit_code in (2, 4), ended.said
    check_the_next_command_completes_it(driver, tmp_path)


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ENOENT", "EEXIST"])
@pytest.mark.parametrize("step", SUCCEEDS)
def test_what_reports_failure_after_it_succeeded(module_faults, driver, tmp_path, step, error):
    operation, path = SUCCEEDS[step]
    rule = Fault(operation, f"{tmp_path}{path}", error, after=True)
    ended = run_with(module_faults, driver, tmp_path, rule)
    assert ended.exit_code == 0, ended.said
    assert len(events_of(run_dir_of(tmp_path), "done")) == len(WORDS)
    check_the_next_command_completes_it(driver, tmp_path)


@pytest.mark.parametrize("path", ["*/out/*.part", "*/journal/*", "*/workers/*", "*/launches/*"])
def test_short_writes_and_reads_are_gone_on_with(module_faults, driver, tmp_path, path):
    rule = Fault("write,read", f"{tmp_path}{path}", "short")
    ended = run_with(module_faults, driver, tmp_path, rule)
    assert ended.exit_code == 0, ended.said
    check_the_next_command_completes_it(driver, tmp_path)


@TIMES
@pytest.mark.parametrize("path", ["*/out/*.part", "*/journal/*", "*/logs/*", "*/workers/*.json"])
def test_a_write_that_is_torn_in_the_middle(module_faults, driver, tmp_path, path, times):
    rule = Fault("write", f"{tmp_path}{path}", "ENOSPC", times=times, after=True)
    ended = run_with(module_faults, driver, tmp_path, rule)
    assert ended.exit_code == (0 if times or "logs" in path else 4), ended.said
    check_the_next_command_completes_it(driver, tmp_path)
