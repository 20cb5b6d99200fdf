"""The digest of what a run has made, and the file that keeps it."""

import errno
import json
import os
from pathlib import Path

import pytest

from hpcpipe.manifest.rundir import RunDir
from hpcpipe.runtime import sources
from tests.toys.runs import run_here, toy_config, write_inputs


@pytest.fixture
def run(tmp_path):
    write_inputs(tmp_path, a="one", b="two")
    return RunDir(run_here(toy_config(tmp_path)).run_dir)


@pytest.fixture
def no_reading(monkeypatch):
    """Reading journals is an error while this is set."""

    def stop(*args):
        raise AssertionError("a journal was read")

    return lambda: monkeypatch.setattr(sources, "JournalReader", stop)


def append(run: RunDir, **event: str | int) -> None:
    with next(iter(run.journal.iterdir())).open("a") as journal:
        journal.write(json.dumps(event) + "\n")


def test_a_digest_is_computed_once_while_nothing_changes(run, no_reading):
    digest = sources.digest(run)
    no_reading()
    assert sources.digest(run) == digest


def test_what_is_journalled_later_counts(run):
    before = sources.digest(run)
    append(run, event="reset", attempt=1, shard="a")
    after = sources.digest(run)
    assert after != before
    assert sources.digest(run) == after


def test_a_kept_digest_that_is_damaged_is_made_anew(run):
    digest = sources.digest(run)
    (run.path / sources.KEPT).write_bytes(b'{"of": ')
    assert sources.digest(run) == digest
    assert json.loads((run.path / sources.KEPT).read_bytes())["digest"] == digest


def test_somebody_who_may_not_write_there_gets_it_all_the_same(run, monkeypatch):
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(sources, "replace", refuse)
        digest = sources.digest(run)
    assert not (run.path / sources.KEPT).exists()
    assert sources.digest(run) == digest
