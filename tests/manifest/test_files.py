import errno
import os

import pytest

from hpcpipe.manifest.files import publish_new, replace, write_new


def failing(real, number, *, after):
    """The call with an error of this number, instead of it or after it was done."""

    def call(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        named = () if isinstance(args[0], int) else (str(args[0]),)
        raise OSError(number, os.strerror(number), *named)

    return call


ERRORS = pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EEXIST])


@ERRORS
def test_a_link_that_reports_failure_after_it_succeeded_has_published(
    tmp_path, monkeypatch, number
):
    monkeypatch.setattr(os, "link", failing(os.link, number, after=True))
    publish_new(tmp_path / "a", b"x")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"x"}


@ERRORS
def test_a_rename_that_reports_failure_after_it_succeeded_has_replaced(
    tmp_path, monkeypatch, number
):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "rename", failing(os.rename, number, after=True))
    replace(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


@pytest.mark.parametrize("call", ["link", "rename", "fsync", "write", "close"])
def test_what_failed_leaves_nothing_behind_and_names_the_file(tmp_path, monkeypatch, call):
    (tmp_path / "old").write_bytes(b"old")
    real = getattr(os, call)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(real, errno.EIO, after=call == "close"))
        with pytest.raises(OSError, match="Input/output error") as caught:
            replace(tmp_path / "old", b"x") if call == "rename" else publish_new(
                tmp_path / "new", b"x"
            )
    assert str(tmp_path) in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old": b"old"}


def test_the_first_error_is_told_where_nothing_works_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(os.fsync, errno.ENOSPC, after=False))
    monkeypatch.setattr(os, "unlink", failing(os.unlink, errno.EIO, after=False))
    with pytest.raises(OSError, match="No space left"):
        write_new(tmp_path / "a", b"x")
