"""Workers as tasks of a real Spark: one session in this process, and one with executors of its own.

The JVMs are told to start fast; everything else is Spark's default.
"""

import os
import signal
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from hpcpipe.errors import LaunchError
from hpcpipe.launch import task
from hpcpipe.launch.spark_task import work_in_task
from hpcpipe.launch.start import start
from hpcpipe.manifest.identity import Identity, process_runs
from tests.toys.runs import events_of, parts_left, state_of, toy_config, write_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": JVM,
    "spark.executor.extraJavaOptions": JVM,
}


def spark(folder, name="toy", *, num_workers=2, **values):
    return toy_config(folder, name, launcher="spark", launcher__num_workers=num_workers, **values)


def identities(run_dir):
    return [
        msgspec.json.decode(p.read_bytes(), type=Identity) for p in run_dir.glob("workers/*.json")
    ]


@pytest.fixture(scope="module")
def session():
    """A session that was open before, in a job of SLURM's; its JVM ends with the module."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    handler = signal.getsignal(signal.SIGINT)
    builder = SparkSession.builder.master("local[2]").config(map=SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("ENVIRONMENT", "BATCH")
        patch.setenv("SLURM_JOB_ID", "77")
        spark = builder.getOrCreate()
    signal.signal(signal.SIGINT, handler)
    yield spark
    spark.stop()
    gateway = SparkContext._gateway
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()


def test_tasks_share_the_shards_and_the_bytes_are_the_same_as_here(tmp_path, session, capsys):
    write_inputs(tmp_path, **{f"s{n:02d}": "slow 0.1" for n in range(20)})
    started = start(spark(tmp_path, num_workers=6), "submit")
    assert started.exit_code == 0
    assert "6 tasks of Spark at local[2]" in capsys.readouterr().out
    assert sorted(e.shard for e in events_of(started.run_dir, "done")) == [
        f"s{n:02d}" for n in range(20)
    ]
    # The other tasks found the run over, or no more than its end.
    assert {"spark-1-0", "spark-1-1"} <= {i.label for i in identities(started.run_dir)}
    here = start(toy_config(tmp_path, run_name="here"), "here")
    for name in (f"s{n:02d}.out" for n in range(20)):
        assert (started.run_dir / "out" / name).read_bytes() == (
            here.run_dir / "out" / name
        ).read_bytes()
    # A session that was open stays open, and a run that was closed is taken on.
    assert session.sparkContext.parallelize([1, 2]).count() == 2
    write_inputs(tmp_path, more="words")
    assert start(spark(tmp_path, extend=True), "submit").exit_code == 0
    assert (started.run_dir / "out" / "more.out").exists()


def test_a_copy_of_a_task_is_harmless(tmp_path, session):
    gate = tmp_path / "gate"
    write_inputs(tmp_path, a=f"gate {gate}", b=f"gate {gate}")
    config = spark(tmp_path)
    run_dir = Path(config.run_dir)

    def copy_and_open():
        wait_until(lambda: run_dir.exists() and len(parts_left(run_dir)) == 2)
        copy = pool.submit(work_in_task, str(run_dir), 1, 0, 0.1)
        wait_until(lambda: len(identities(run_dir)) == 3)
        gate.touch()
        return copy.result()

    with ThreadPoolExecutor(2) as pool:
        said = pool.submit(copy_and_open)
        assert start(config, "submit").exit_code == 0
        assert said.result() == ""
    assert sorted(i.label for i in identities(run_dir)) == ["spark-1-0", "spark-1-0", "spark-1-1"]
    assert sorted(e.shard for e in events_of(run_dir, "done")) == ["a", "b"]


def test_a_killed_workers_shard_is_done_by_another(tmp_path, session, capsys):
    write_inputs(tmp_path, a="kill 2", b="slow 1", c="three")
    started = start(spark(tmp_path, run__lease_s=1000), "submit")
    assert started.exit_code == 0
    assert [e.attempt for e in events_of(started.run_dir, "lost")] == [1]
    assert "was killed" in capsys.readouterr().err


def test_a_run_directory_that_executors_do_not_see_is_told(tmp_path, session, capsys, monkeypatch):
    monkeypatch.setattr(task, "VISIBLE_S", 0.1)
    write_inputs(tmp_path, a="one", b="two")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        config = spark(tmp_path, paths__runs=f"/proc/self/fd/{folder}/runs")
        assert start(config, "submit").exit_code == 4
    finally:
        os.close(folder)
    said = capsys.readouterr().err
    assert "2 workers did not begin: executors on" in said
    assert "see no run directory /proc/self/fd/" in said
    assert "Set HPCPIPE_RUNS to a folder there" in said


def test_executors_whose_python_has_no_hpcpipe_say_which_python(
    tmp_path, session, capsys, monkeypatch
):
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    monkeypatch.setattr(session.sparkContext, "pythonExec", str(python))
    write_inputs(tmp_path, a="one", b="two")
    assert start(spark(tmp_path), "submit").exit_code == 4
    said = capsys.readouterr().err
    assert f"2 workers did not begin: {python} on" in said
    assert "has no hpcpipe" in said
    assert "PYSPARK_PYTHON" in said


def test_tasks_that_spark_cannot_start_are_told_in_one_line(tmp_path, session, capsys, monkeypatch):
    monkeypatch.setattr(session.sparkContext, "pythonExec", "/no/python")
    write_inputs(tmp_path, a="one")
    assert start(spark(tmp_path), "submit").exit_code == 4
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("Spark has given")]
    assert 'Cannot run program "/no/python"' in line


def test_another_master_than_that_of_the_open_session_is_refused(tmp_path, session):
    write_inputs(tmp_path, a="one")
    with pytest.raises(LaunchError, match=r"spark://other:7077, and a session at local\[2\] is"):
        start(spark(tmp_path, launcher__master="spark://other:7077"), "submit")


def test_what_is_missing_is_told_before_anything_is_made(tmp_path, monkeypatch):
    write_inputs(tmp_path, a="one")
    with pytest.raises(LaunchError, match=r"resources\.gpus=1: launcher=spark gives workers no"):
        start(spark(tmp_path, resources__gpus=1), "submit")
    monkeypatch.setenv("JAVA_HOME", "/no/java")
    with pytest.raises(LaunchError, match=r"there is no /no/java/bin/java on this machine"):
        start(spark(tmp_path), "submit")
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


@pytest.fixture
def command(tmp_path):
    """Start ``launcher=spark -m`` on a cluster of one executor, in a process of its own."""
    home = tmp_path / "spark"
    home.mkdir()
    import pyspark

    for item in Path(pyspark.__file__).parent.iterdir():
        (home / item.name).symlink_to(item)
    (home / "work").unlink(missing_ok=True)
    code = (
        "import sys; from pathlib import Path; from tests.toys.runs import toy_config\n"
        "from hpcpipe.launch.start import start\n"
        f"config = toy_config(Path({str(tmp_path)!r}), launcher='spark', launcher__num_workers=2,\n"
        "    launcher__master='local-cluster[1,2,512]', run__lease_s=1000)\n"
        "sys.exit(start(config, 'submit').exit_code)"
    )
    own = {
        "spark.executor.memory": "512m",
        "spark.driver.memory": "512m",
        "spark.task.maxFailures": "1",
    }
    flags = [f"--conf '{key}={value}'" for key, value in {**SETTINGS, **own}.items()]
    env = {
        **os.environ,
        "SPARK_HOME": str(home),
        "PYSPARK_SUBMIT_ARGS": " ".join([*flags, "pyspark-shell"]),
    }
    with (tmp_path / "stdout").open("w") as out, (tmp_path / "stderr").open("w") as err:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    yield child
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def executors(folder):
    """Processes of executors whose work lies below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_java = b"CoarseGrainedExecutorBackend" in (path / "cmdline").read_bytes()
            if is_java and (path / "cwd").readlink().is_relative_to(folder):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_a_lost_executor_is_made_up_for_and_ctrl_c_stops_cleanly(tmp_path, command, session):
    # The first of the two workers begins with the largest; then both have something to wait for.
    write_inputs(tmp_path, a="first of all", c="wait 2", d="wait 2", e="wait 2", f="wait 2")
    config = spark(tmp_path)
    run_dir = Path(config.run_dir)
    wait_until(lambda: run_dir.exists() and events_of(run_dir, "done"))
    wait_until(lambda: len(parts_left(run_dir)) == 2)
    (executor,) = executors(tmp_path)
    os.kill(executor, signal.SIGKILL)
    wait_until(lambda: len(identities(run_dir)) == 4 and len(parts_left(run_dir)) == 2)
    assert len(events_of(run_dir, "closed")) == 2
    assert "the tasks are started again" in (tmp_path / "stderr").read_text()
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(60) == 130
    assert "can be resumed" in (tmp_path / "stdout").read_text()
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert parts_left(run_dir) == []
    assert not any(map(process_runs, identities(run_dir)))
    assert events_of(run_dir, "failed", "lost") == []
    write_inputs(tmp_path, c="two", d="three", e="four", f="five")
    assert start(spark(tmp_path, extend=True), "submit").exit_code == 0
    assert state_of(run_dir, config).counts()["done"] == 5
