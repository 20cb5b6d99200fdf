"""What `clean` removes, and what it leaves alone."""

import os
import time

import pytest
import s3fs

from hpcpipe.manifest.pipeline_records import Job
from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime import leftovers
from hpcpipe.runtime.session import Session
from tests.cli.runs import good_run, verb
from tests.launch.test_pipeline import make_pipeline
from tests.toys.runs import run_here, toy_config, write_inputs

DAY_S = 24 * 3600


def clutter(run_dir, *, age_s=2 * DAY_S):
    """Everything that a run may leave behind; returns what may go without --all."""
    unfinished = run_dir.with_name(f".{run_dir.name}.0123abcd")
    (unfinished / "claims").mkdir(parents=True)
    (unfinished / "claims" / "x").write_text("xx")
    (run_dir / "submitit" / "1").mkdir(parents=True)
    gone = [
        run_dir / "out" / ".a.out.1.part",
        run_dir / ".plan-0002.jsonl.0123abcd",
        run_dir / "launches" / ".1.json.0123abcd",
        run_dir / "out" / ".hpcpipe" / ".toy.json.0123abcd",
        run_dir / "submitit" / "1" / "77_0_submitted.pkl",
        run_dir / "submitit" / "1" / "77_0_0_result.pkl",
    ]
    for path in gone:
        path.write_text("left")
    (run_dir / "submitit" / "1" / "77_0_0_log.out").write_text("log")
    for path in (*gone, unfinished):
        os.utime(path, (time.time() - age_s,) * 2)
    return [*gone, unfinished]


def everything(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_leftovers_go_and_nothing_else(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    before = everything(tmp_path)
    gone = clutter(run_dir)
    capsys.readouterr()
    assert verb("clean", run_dir) == 0
    shown = capsys.readouterr().out
    assert "removed    4 temporary files, 16 B" in shown
    assert "removed    1 unfinished run folder, 2 B" in shown
    assert "removed    2 pickles, 8 B" in shown
    assert not any(path.exists() for path in gone)
    assert everything(tmp_path) == before | {run_dir / "submitit" / "1" / "77_0_0_log.out"}
    assert run_here(toy_config(tmp_path)).exit_code == 0
    assert verb("verify", run_dir, "--deep") == 0


def test_a_dry_run_only_lists(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    clutter(run_dir)
    before = everything(tmp_path)
    capsys.readouterr()
    assert verb("clean", run_dir, "--dry-run", "--all") == 0
    shown = capsys.readouterr().out
    assert f"{run_dir}/out/.a.out.1.part" in shown
    assert "would go   2 logs" in shown
    assert everything(tmp_path) == before


def test_all_takes_the_logs(tmp_path):
    run_dir = good_run(tmp_path)
    clutter(run_dir)
    assert verb("clean", run_dir, "--all") == 0
    assert everything(run_dir / "logs") == set()
    assert not (run_dir / "submitit" / "1" / "77_0_0_log.out").exists()
    assert verb("status", run_dir) == 0


def test_what_somebody_may_be_writing_now_stays(tmp_path):
    run_dir = good_run(tmp_path)
    _, plan, record, marker, *_, unfinished = clutter(run_dir, age_s=60)
    assert verb("clean", run_dir) == 0
    assert plan.exists()
    assert record.exists()
    assert marker.exists()
    assert unfinished.exists()


def test_nothing_to_remove(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    assert verb("clean", run_dir) == 0
    assert capsys.readouterr().out.endswith("nothing to remove\n")


def test_not_while_a_worker_lives(tmp_path, capsys):
    run_dir = good_run(tmp_path)
    gone = clutter(run_dir)
    session = Session(RunDir(run_dir), "9_1", 1, tmp_path, heartbeat_s=60)
    try:
        assert verb("clean", run_dir) == 2
    finally:
        session.close("")
    assert f"python -m hpcpipe cancel {run_dir}" in capsys.readouterr().err
    assert all(path.exists() for path in gone)


def test_another_stages_files_in_the_same_folder_stay(tmp_path):
    folder = str(tmp_path / "shared")
    run_dir = good_run(tmp_path, stage__output=folder)
    (tmp_path / "shared" / ".hpcpipe" / "other.json").write_bytes(
        (tmp_path / "shared" / ".hpcpipe" / "toy.json").read_bytes().replace(b"toy", b"other", 1)
    )
    ours, theirs = (tmp_path / "shared" / f".{name}.1.part" for name in ("a.out", "z.tar"))
    ours.write_text("x")
    theirs.write_text("x")
    assert verb("clean", run_dir) == 0
    assert not ours.exists()
    assert theirs.exists()


def test_unfinished_uploads_of_outputs_are_aborted_once_they_are_old(
    s3_bucket, tmp_path, capsys, monkeypatch
):
    run_dir = good_run(tmp_path, stage__output=f"{s3_bucket}/out")
    bucket, store = s3_bucket.removeprefix("s3://"), s3fs.S3FileSystem()
    for key in ("out/a.out", "elsewhere/b.out"):
        store.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "OLD_S", 200 * 365 * DAY_S)  # this server began them in 2010
        assert verb("clean", run_dir) == 0
    assert len(store.list_multipart_uploads(bucket)) == 2
    capsys.readouterr()
    assert verb("clean", run_dir, "--dry-run") == 0
    assert f"unfinished upload                0 B  {s3_bucket}/out/a.out" in capsys.readouterr().out
    assert verb("clean", run_dir) == 0
    assert [upload["Key"] for upload in store.list_multipart_uploads(bucket)] == ["elsewhere/b.out"]


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """A pipeline whose steps are complete, and where killed launches have left things."""
    monkeypatch.setenv("HPCPIPE_RUNS", str(tmp_path / "runs"))
    write_inputs(tmp_path, a="one")
    config, directory = make_pipeline(tmp_path)
    for step in config.steps:
        run_here(step.config)
    return directory


def test_what_a_pipeline_has_left_goes_with_that_of_its_steps(pipeline, capsys):
    folder, run = pipeline.path, pipeline.step("second").find_run()
    before = everything(folder)
    (folder / "submitit" / "1" / "workers").mkdir(parents=True)
    (folder / "submitit" / "1" / "plan").mkdir()
    (run.path / "submitit").mkdir()
    (run.path / "submitit" / "1").symlink_to(folder / "submitit" / "1" / "workers")
    log = folder / "submitit" / "1" / "plan" / "11_0_log.out"
    log.write_text("log")
    gone = [
        folder / ".pipeline.json.0123abcd",
        folder / "jobs" / ".1.json.0123abcd",
        folder / "plans" / ".1.json.0123abcd",
        run.path / ".plan-0002.jsonl.0123abcd",
        folder / "submitit" / "1" / "plan" / "11_submitted.pkl",
        folder / "submitit" / "1" / "workers" / "12_0_submitted.pkl",
    ]
    for path in gone:
        path.write_text("left")
        os.utime(path, (time.time() - 2 * DAY_S,) * 2)
    young = folder / "jobs" / ".2.json.0123abcd"
    young.write_text("left")
    capsys.readouterr()
    assert verb("clean", folder, "--dry-run") == 0
    assert "would go   2 pickles, 8 B" in capsys.readouterr().out
    assert verb("clean", "pair") == 0
    shown = capsys.readouterr().out
    assert "removed    4 temporary files, 16 B" in shown
    assert "removed    2 pickles, 8 B" in shown
    assert not any(path.exists() for path in gone)
    assert everything(folder) == {*before, log, young}
    assert verb("clean", "pair", "--all") == 0
    assert not log.exists()


def test_a_pipeline_is_not_cleaned_while_a_job_of_it_waits(pipeline, tmp_path, monkeypatch, capsys):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 11 N/A PENDING N/A Dependency\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pipeline.add_job(Job(0, "second", 3, plan_job="11"), "")
    left = pipeline.jobs / ".9.json.0123abcd"
    left.write_text("left")
    os.utime(left, (time.time() - 2 * DAY_S,) * 2)
    assert verb("clean", pipeline.path) == 2
    assert "1 task of the pipeline still in the queue" in capsys.readouterr().err
    assert left.exists()
