import json
import threading

import pytest

from hpcpipe.errors import RunMismatchError
from hpcpipe.manifest.new_rundir import NewRunDir
from hpcpipe.manifest.rundir import FORMAT_VERSION, Launch, RunDir, RunInfo


def info(fingerprint="f" * 16):
    return RunInfo(
        format_version=FORMAT_VERSION,
        stage="toy",
        target="x.Y",
        run_name="n",
        fingerprint=fingerprint,
        output="/out",
        block_size=1,
        has_finalize=False,
        created_at=1.0,
        version="0",
    )


def make(path, fingerprint="f" * 16):
    new = NewRunDir(path)
    (new.path / "plan.jsonl").write_bytes(b"")
    return new.publish(info(fingerprint), "stage_name: toy\n")


def test_appears_whole_or_not_at_all(tmp_path):
    new = NewRunDir(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = new.publish(info(), "a: 1\n")
    assert run.info == info()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(list(run.claims.iterdir())) == 256


def test_the_loser_of_a_race_reads_the_winners(tmp_path):
    barrier, runs = threading.Barrier(4), []

    def race():
        new = NewRunDir(tmp_path / "run")
        barrier.wait()
        runs.append(new.publish(info(), "a: 1\n").path)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs == [tmp_path / "run"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_race_with_another_run_is_refused(tmp_path):
    new = NewRunDir(tmp_path / "run")
    make(tmp_path / "run", "a" * 16)
    with pytest.raises(RunMismatchError, match=r"was just made by another run"):
        new.publish(info("b" * 16), "")
    assert RunDir(tmp_path / "run").info.fingerprint == "a" * 16


def test_what_is_no_run_directory_is_told_apart(tmp_path):
    with pytest.raises(RunMismatchError, match=r"is not a run directory: it has no run.json"):
        RunDir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunMismatchError, match=r"it is a file"):
        RunDir(tmp_path / "file")


def test_other_format_versions_are_refused_with_what_to_do(tmp_path):
    path = make(tmp_path / "run").path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(
        RunMismatchError, match=r"format version 99.*reads version 1.*another run_dir"
    ):
        RunDir(tmp_path / "run")
    for data in (b"{broken", b'{"format_version":1,"stage":"\xff"}'):
        path.write_bytes(data)
        with pytest.raises(RunMismatchError, match=r"run.json is damaged"):
            RunDir(tmp_path / "run")


def test_launches_are_numbered_and_count_workers_on(tmp_path):
    run = make(tmp_path / "run")
    first = run.add_launch(Launch(number=0, kind="slurm", num_workers=8))
    second = run.add_launch(Launch(number=0, kind="slurm", num_workers=4))
    assert (first.number, first.first_index) == (1, 0)
    assert (second.number, second.first_index) == (2, 8)
    run.update_launch(Launch(number=2, kind="slurm", num_workers=4, array_job="77"))
    assert [launch.array_job for launch in run.read_launches()] == ["", "77"]
    assert run.read_launch(2).array_job == "77"


def test_a_damaged_launch_is_named(tmp_path):
    run = make(tmp_path / "run")
    run.add_launch(Launch(number=0, kind="slurm", num_workers=8))
    for data in (b"", b'{"number":', b'{"number":2,"kind":"\xff","num_workers":1}'):
        (run.launches / "2.json").write_bytes(data)
        with pytest.raises(RunMismatchError, match=r"launches/2\.json is damaged"):
            run.add_launch(Launch(number=0, kind="slurm", num_workers=8))
    (run.launches / "2.json").unlink()
    assert run.add_launch(Launch(number=0, kind="slurm", num_workers=8)).number == 2
    assert sorted(path.name for path in run.launches.iterdir()) == ["1.json", "2.json"]


def test_the_number_of_a_launch_whose_record_was_removed_is_not_used_again(tmp_path):
    run = make(tmp_path / "run")
    for number in (1, 2):
        run.add_launch(Launch(number=0, kind="slurm", num_workers=3))
        (run.launches / f"{number}.yaml").touch()
    (run.launches / "2.json").unlink()
    launch = run.add_launch(Launch(number=0, kind="slurm", num_workers=3))
    assert (launch.number, launch.first_index) == (3, 3)
