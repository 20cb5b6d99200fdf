import errno
import hashlib
import os

import pytest
import xxhash

from hpcpipe.errors import BadInputError, ConfigError
from hpcpipe.runtime.attempt import AttemptLostError
from hpcpipe.runtime.outputs import OutputFolder, temp_path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return OutputFolder(str(tmp_path / "out"), "xxh3_128")


def still_ours():
    return None


def test_a_file_has_its_final_name_only_when_published(tmp_path, folder):
    file = folder.stage("sub/a.tar", 1, tmp_path)
    file.write(b"one ")
    file.write(memoryview(b"two"))
    file.num_samples = 2
    assert file.tell() == 7
    assert list((tmp_path / "out" / "sub").glob("*.tar")) == []
    folder.publish([file], still_ours)
    assert (tmp_path / "out" / "sub" / "a.tar").read_bytes() == b"one two"
    assert [path.name for path in (tmp_path / "out" / "sub").iterdir()] == ["a.tar"]
    record = file.record()
    assert (record.path, record.size_bytes, record.num_samples) == ("sub/a.tar", 7, 2)
    assert record.checksum == f"xxh3_128:{xxhash.xxh3_128_hexdigest(b'one two')}"


def test_sha256_by_option(tmp_path):
    folder = OutputFolder(str(tmp_path), "sha256")
    file = folder.stage("a", 1, tmp_path)
    file.write(b"abc")
    folder.publish([file], still_ours)
    assert file.record().checksum == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"


def test_ranges_of_other_files_are_copied_whole(tmp_path, folder):
    data = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(data)
    file = folder.stage("a", 1, tmp_path)
    with (tmp_path / "source").open("rb") as source:
        file.copy_range(source.fileno(), 5, 2_999_990)
        file.write(b"x" * 700_000)
        file.copy_range(source.fileno(), 0, 0)
        file.copy_range(source.fileno(), 1, 2)
    folder.publish([file], still_ours)
    wanted = data[5:2_999_995] + b"x" * 700_000 + data[1:3]
    assert (tmp_path / "out" / "a").read_bytes() == wanted
    assert file.record().checksum.endswith(xxhash.xxh3_128_hexdigest(wanted))


def test_a_range_beyond_the_end_is_bad_input(tmp_path, folder):
    (tmp_path / "source").write_bytes(b"12345")
    file = folder.stage("a", 1, tmp_path)
    with (
        (tmp_path / "source").open("rb") as source,
        pytest.raises(BadInputError, match=r"ends at byte 5, 9 were expected"),
    ):
        file.copy_range(source.fileno(), 2, 7)
    file.close(sync=False)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "", "a//b", ".hidden", "a\n"])
def test_names_that_leave_the_folder_are_refused(tmp_path, folder, name):
    with pytest.raises(ConfigError, match=r"output name"):
        folder.stage(name, 1, tmp_path)


def test_the_next_attempt_removes_what_older_ones_left(tmp_path, folder):
    old = folder.stage("a.tar", 1, tmp_path)
    old.close(sync=False)
    assert temp_path(tmp_path / "out" / "a.tar", 1).exists()
    new = folder.stage("a.tar", 3, tmp_path)
    new.close(sync=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".a.tar.3.part"]


def test_nothing_is_published_once_the_attempt_is_lost(tmp_path, folder):
    file = folder.stage("a", 1, tmp_path)
    file.write(b"x")

    def lost():
        raise AttemptLostError

    with pytest.raises(AttemptLostError):
        folder.publish([file], lost)
    assert not (tmp_path / "out" / "a").exists()


def test_a_rename_that_reports_failure_after_it_succeeded_is_a_success(
    tmp_path, folder, monkeypatch
):
    file = folder.stage("a", 1, tmp_path)
    file.write(b"x")
    real = os.rename

    def rename(source, target):
        real(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "rename", rename)
    folder.publish([file], still_ours)
    assert (tmp_path / "out" / "a").read_bytes() == b"x"


def test_a_rename_that_failed_is_a_failure(tmp_path, folder, monkeypatch):
    file = folder.stage("a", 1, tmp_path)

    def rename(source, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match=r"Input/output"):
        folder.publish([file], still_ours)


def test_a_file_is_never_shared_with_an_older_runs_worker(tmp_path, folder):
    old = folder.stage("a", 1, tmp_path)
    old.write(b"of a run that was removed while its worker went on")
    new = folder.stage("a", 1, tmp_path)
    new.write(b"whole")
    folder.publish([new], still_ours)
    old.flush()
    assert (tmp_path / "out" / "a").read_bytes() == b"whole"
    old.close(sync=False)


def test_links_planted_under_a_temporary_name_are_not_followed(tmp_path, folder):
    (tmp_path / "precious").write_text("precious")
    temp_path(tmp_path / "out" / "a", 1).symlink_to(tmp_path / "precious")
    file = folder.stage("a", 1, tmp_path)
    file.write(b"x")
    folder.publish([file], still_ours)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "out" / "a").is_symlink()
