import os

import pytest

from hpcpipe.errors import BadInputError
from hpcpipe.formats.edit_origins import open_origin
from hpcpipe.formats.edits import Edits
from tests.stages.tars import write_tar

FILES = {"a.jpg": b"A", "a.seg.png": b"seg", "d/b.txt": b"B", "d/zz.txt": b"Z", "noext": b"?"}


@pytest.fixture(params=["files", "tar", "remote files", "remote tar"])
def edits(request, tmp_path):
    import fsspec

    fs = fsspec.filesystem("memory")
    if request.param.endswith("tar"):
        path = write_tar(tmp_path / "e.tar", FILES.items())
        fs.pipe("/edits-test/e.tar", path.read_bytes())
        remote = "memory://edits-test/e.tar"
    else:
        path = tmp_path / "e"
        for name, content in FILES.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
            fs.pipe(f"/edits-test/e/{name}", content)
        remote = "memory://edits-test/e"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    is_remote = request.param.startswith("remote")
    origin = open_origin(remote, scratch) if is_remote else open_origin(str(path), None)
    with Edits(origin) as e:
        yield e
    fs.rm("/edits-test", recursive=True)


def test_edits_are_found_by_key_and_read(edits):
    found = edits.find(["x", "a", "d/b", "b"])
    assert [list(one) if one else one for one in found] == [None, ["jpg", "seg.png"], ["txt"], None]
    assert edits.read(found[1]["jpg"]) == b"A"
    assert edits.read(found[1]["seg.png"]) == b"seg"
    assert edits.read(found[2]["txt"]) == b"B"


def test_what_nobody_asked_for_is_unmatched(edits):
    edits.find(["a", "d/b"])
    assert sorted(edits.unmatched()) == ["d/zz", "noext"]
    edits.find(["d/zz"])
    assert edits.unmatched() == ["noext"]


def test_an_empty_folder_has_no_edits(tmp_path):
    with Edits(open_origin(str(tmp_path), None)) as edits:
        assert edits.find(["a"]) == [None]
        assert edits.unmatched() == []


def test_only_regular_files_are_taken(tmp_path):
    folder = tmp_path / "e"
    folder.mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"secret")
    os.symlink(secret, folder / "a.txt")
    os.symlink(tmp_path, folder / "link")
    os.mkfifo(folder / "b.txt")
    (folder / "c.txt").write_bytes(b"c")
    with Edits(open_origin(str(folder), None)) as edits:
        found = edits.find(["a", "b", "c", "link/secret"])
        assert [one is not None for one in found] == [False, False, True, False]
        assert sorted(edits.unmatched()) == ["a.txt", "b.txt", "link"]
        (folder / "c.txt").unlink()
        os.symlink(secret, folder / "c.txt")
        with pytest.raises(BadInputError, match=r"e/c\.txt cannot be read: Too many levels"):
            edits.read(found[2]["txt"])


def test_remote_names_that_leave_the_folder_are_refused(tmp_path, monkeypatch):
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe("/edits-unsafe/e/a.txt", b"a")
    monkeypatch.setattr(type(fs), "find", lambda self, path, **_: [f"{path}/../../a.txt"])
    with pytest.raises(BadInputError, match=r"unsafe name '\.\./\.\./a\.txt'"):
        open_origin("memory://edits-unsafe/e", tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.rglob("*.txt")) == []
    fs.rm("/edits-unsafe", recursive=True)
